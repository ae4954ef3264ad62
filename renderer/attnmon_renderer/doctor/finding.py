"""The finding of a check, and a way to try something in a new Python process."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "note", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    topic: str
    """Name of the check."""
    verdict: Verdict
    found: str
    """What was found."""
    then: str = ""
    """What follows: what the monitor does, or what the user can do."""


def run_python(code: str, seconds: float = 30.0) -> str:
    """Run code in a new Python process; returns the last line that it prints.

    Raises:
        RuntimeError: it failed or printed nothing; with the last line of its standard error.
        subprocess.TimeoutExpired: it took longer.
    """
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=seconds
    )
    lines = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()
    if ran.returncode or not lines:
        raise RuntimeError(lines[-1] if lines else f"exit code {ran.returncode}")
    return lines[-1]
