"""What the monitor has done, what it costs, and which errors it met."""
