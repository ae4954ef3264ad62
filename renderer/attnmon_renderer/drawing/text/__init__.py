"""Text: which characters can be drawn, how wide they are, and their pixels."""
