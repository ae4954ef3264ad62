"""The renderer's first process, and how it runs the others."""
