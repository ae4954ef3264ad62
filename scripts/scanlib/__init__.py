"""Helpers of `scan_models.py`: architectures, oracles, and the processes they are tried in."""
