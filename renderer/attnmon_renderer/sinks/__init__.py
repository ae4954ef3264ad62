"""Where results go: one short file for each kind of output."""
