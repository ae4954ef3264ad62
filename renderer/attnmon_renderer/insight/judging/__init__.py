"""What rules are given, what a rule is, and how it puts what it found into words."""
