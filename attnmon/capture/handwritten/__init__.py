"""Attention computed step by step, found by following tensors from the scores to the values."""
