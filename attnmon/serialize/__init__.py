"""Writes captured tensors into the ring, and makes the message that describes them."""
