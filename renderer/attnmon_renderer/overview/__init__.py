"""Tells how runs stand, from their files alone: what is wrong, and a line for each of many."""
