"""The run directory: its paths, how files are written, read and removed."""
