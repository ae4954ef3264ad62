"""One line on a terminal while the user waits for the last pictures; elsewhere nothing."""

import sys


class Progress:
    """How many of `total` are done. Writes to standard error, only where it is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = False

    def show(self, left: int) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            self._write(f"\rattnmon: drawing the last captures, {left} of {self._total} left\033[K")
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
