"""`attnmon compare`: says what differs between two runs, or between two groups of runs."""
