"""Prepares text for a terminal: a run's files and messages must not control it."""

import time
from typing import TextIO


def harmless(text: object) -> str:
    """Return a text in one line, without characters that control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


def ago(seconds: float) -> str:
    """Return a duration, given in seconds, in the largest unit that fits."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 step", "1,200 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def were(count: int) -> str:
    """Return "was" for one, "were" for any other number."""
    return "was" if count == 1 else "were"


def table(rows: dict[str, str]) -> str:
    """Return names and values in lines, the values aligned."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


class ProgressLine:
    """A line that shows how many steps of a job are done; nothing if the stream is no terminal."""

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._done = total, 0
        self._stream = stream
        self._live = stream.isatty()
        self._started = time.monotonic()

    def advance(self) -> None:
        """Count one more as done, and show it."""
        self._done += 1
        each = (time.monotonic() - self._started) / self._done
        left = ago(each * (self._total - self._done))
        filled = 30 * self._done // self._total
        bar = "█" * filled + "·" * (30 - filled)
        self._show(f"{bar} {self._done} of {self._total}, {left} left")

    def end(self) -> None:
        """Remove the line."""
        self._show("")

    def _show(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
