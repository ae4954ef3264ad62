"""What a check found, and how it asks a fresh interpreter."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "note", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was tried, what came of it, and what the monitor does about it."""

    topic: str
    verdict: Verdict
    found: str
    then: str = ""


def ask_python(code: str, seconds: float = 30.0) -> str:
    """What a fresh interpreter prints last. Raises RuntimeError with its last words."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=seconds
    )
    lines = (ran.stdout if ran.returncode == 0 else ran.stderr).strip().splitlines()
    if ran.returncode or not lines:
        raise RuntimeError(lines[-1] if lines else f"exit code {ran.returncode}")
    return lines[-1]
