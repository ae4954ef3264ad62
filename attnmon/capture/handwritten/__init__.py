"""Attention written out in single operations, recognised by where its numbers come from."""
