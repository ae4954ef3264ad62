"""What is to be drawn, as inert data."""
