"""Reads what is compared of a run, and finds which of its captures belong to those of another."""
