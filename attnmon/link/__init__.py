"""The contract of the two processes: slots, messages, channel. Imports neither torch nor numpy."""
