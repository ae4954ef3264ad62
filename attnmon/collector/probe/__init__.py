"""Collects attention from an extra forward of one sample."""
