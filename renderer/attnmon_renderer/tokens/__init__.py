"""Tokens and characters as people read them, without fonts or pixels."""
