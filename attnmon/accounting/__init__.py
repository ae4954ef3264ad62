"""Counts what the monitor does and costs, and judges the errors that it meets."""
