"""The training process's end of the hand-off, from startup to shutdown."""
