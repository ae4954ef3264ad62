"""Judges a training by its attention and its loss: rules, their alerts, and the alerts' file."""
