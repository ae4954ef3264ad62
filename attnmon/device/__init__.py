"""Summarises attention on a CUDA device, so that kilobytes leave it and not queries and keys."""
