"""Parts of the chaos test."""
