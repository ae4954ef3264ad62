"""Mirrors a run's directory in a bucket: uploads, the index for readers, and the way back."""
