"""Collects the attention of a step: with a probe, from the model's forward, or from the user."""
