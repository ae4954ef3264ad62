"""Runs an extra forward where it can change nothing: stopped before the damage, or put back."""
