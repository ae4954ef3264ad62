"""Text for a terminal: what comes from a run's files and messages is data, never control."""

import time
from typing import TextIO


def harmless(text: object) -> str:
    """The text in one line, with nothing in it that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def ago(seconds: float) -> str:
    """A duration in the unit that fits it."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def table(rows: dict[str, str]) -> str:
    """Names and values, the values below each other."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


class ProgressLine:
    """One line that says how many of so many are done; nothing where no terminal shows it."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._done = total, 0
        self._stream = stream
        self._live = stream.isatty()
        self._started = time.monotonic()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        each = (time.monotonic() - self._started) / self._done
        left = ago(each * (self._total - self._done))
        filled = 30 * self._done // self._total
        bar = "█" * filled + "·" * (30 - filled)
        self._show(f"{bar} {self._done} of {self._total}, {left} left")

    def end(self) -> None:
        """Take the line away."""
        self._show("")

    def _show(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
