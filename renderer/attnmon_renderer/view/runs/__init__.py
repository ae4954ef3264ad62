"""Reads runs for the server: the only part of it that touches files, so a mirror can stand in."""
