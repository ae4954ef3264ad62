"""Sends alerts to an address of the web, from a process of its own."""
