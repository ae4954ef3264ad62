"""The connection to the renderer, from startup to shutdown, seen from the training process."""
