"""From a model and its inputs to the layers asked for."""
