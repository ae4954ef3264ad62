"""Reads the user's model: its modules, its inputs, and the state that a probe must preserve."""
