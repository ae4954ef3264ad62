"""Text: fonts, glyphs, and matplotlib's defaults."""
