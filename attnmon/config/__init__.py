"""What a user may set: checked once, at construction."""
