"""Shows runs in a browser: `attnmon view`, a server that reads files and does nothing else."""
