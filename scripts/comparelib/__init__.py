"""Parts of `compare_suite.py`: small language models, and trainings that are to be compared."""
