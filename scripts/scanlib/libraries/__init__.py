"""The architectures of each library, tiny and with random weights; `catalogue` has them all."""
