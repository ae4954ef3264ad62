"""Paths of the project's parts."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
PROJECT = TESTS.parent
SCRIPTS = PROJECT / "scripts"
