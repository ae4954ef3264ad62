"""Collects what the model was given: the sample's tokens and its image."""
