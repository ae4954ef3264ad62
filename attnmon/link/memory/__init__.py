"""Where the memory that both processes share comes from, and how much of it there is."""
