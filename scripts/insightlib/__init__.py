"""Parts of `insight_suite.py`."""
