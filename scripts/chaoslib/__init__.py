"""What the chaos test is made of."""
