"""One line on a terminal while the user waits for the last pictures; elsewhere nothing."""

import contextlib
import sys


class DrawingProgress:
    """How many of `total` are done. Writes to standard error, only where it is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = False

    def show(self, left: int) -> None:
        if _is_terminal():
            _write(f"\rattnmon: drawing the last captures, {left} of {self._total} left\033[K")
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            _write("\r\033[K")
            self._shown = False


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, closed, or something that a user put there
        return False


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # the terminal has been closed
        sys.stderr.write(text)
        sys.stderr.flush()
