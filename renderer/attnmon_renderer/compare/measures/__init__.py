"""Numbers alone: distances, matching, wobble, and the test of two groups."""
