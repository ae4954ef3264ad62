"""The user's model: its modules, its inputs, and the state that must stay as it was."""
