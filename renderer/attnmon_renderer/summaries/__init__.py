"""Layers that were summed up on their device: read, stored, and compared with query and key."""
