"""The maps of a capture, kept small: `maps.safetensors`."""
