"""Collects attention from the forwards that the model makes by itself."""
