"""Fused attention functions, and an adapter for each that reads its arguments."""
