"""Opens matplotlib's font files before any test, so that no test seems to leave them open."""

import support.pictures  # noqa: F401
