"""Follows where a forward's tensors come from: the sample, the head, and the stack of each row."""
