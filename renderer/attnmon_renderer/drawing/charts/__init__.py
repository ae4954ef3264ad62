"""The charts: each lays out its page from the data it shows."""
