"""The bound for a run's disk: what is counted, and what goes first."""
