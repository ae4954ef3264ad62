"""Opens buckets of every kind, and says what their errors mean."""
