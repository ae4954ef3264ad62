"""The charts: one function for each kind of figure, from its data to its page."""
