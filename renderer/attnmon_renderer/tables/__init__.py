"""The statistics of many runs as one table, for programs that ask questions of tables."""
