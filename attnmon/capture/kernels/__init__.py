"""Fused attention functions, and the adapter that reads the arguments of each."""
