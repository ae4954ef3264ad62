"""Callbacks for other people's trainers. Each module here imports its framework; no other does."""
