"""Reads a history from where a reader left off: whole lines, a bounded number of bytes at once."""

import os
from pathlib import Path
from typing import NamedTuple

from attnmon_renderer.storage import regular_files

MOST_BYTES = 1 << 20
"""Of one answer."""


class BeyondEnd(ValueError):
    """A cursor is beyond the end of a history, which was replaced by a shorter one."""


class HistoryChunk(NamedTuple):
    """Some lines of a history."""

    lines: bytes
    """Whole lines; a line that is longer than an answer is left out."""
    cursor: int
    """Where to read on, in bytes from the beginning; where it was when there is nothing new."""


def read_history(path: Path, after: int) -> HistoryChunk:
    """Return the whole lines after a cursor. Raises `BeyondEnd`, OSError.

    A cursor in the middle of a line counts as one at its end.
    """
    try:
        file = regular_files.open_to_read(path)
    except FileNotFoundError:
        return HistoryChunk(b"", 0)
    with file:
        descriptor = file.fileno()
        size = os.fstat(descriptor).st_size
        if after > size:
            raise BeyondEnd(f"the history has {size:,} bytes, no {after:,}: begin at 0")
        start = after if after == 0 else _line_begin(descriptor, after)
        content = os.pread(descriptor, MOST_BYTES, start)
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and len(content) == MOST_BYTES:
            return HistoryChunk(b"", _line_begin(descriptor, start + 1))
        return HistoryChunk(whole, start + len(whole))


def _line_begin(descriptor: int, place: int) -> int:
    """Return the first beginning of a line from a place on; the place itself if there is none."""
    position = place - 1  # its newline ends the line before
    while content := os.pread(descriptor, MOST_BYTES, position):
        found = content.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(content)
    return place
