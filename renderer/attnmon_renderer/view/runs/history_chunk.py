"""Reads a history from where a reader left off: whole lines, a bounded number of bytes at once."""

import os
from pathlib import Path
from typing import NamedTuple

from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.history_reader import LONGEST_LINE, MOST_HISTORY_BYTES

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

    A cursor in the middle of a line counts as one at its end. Of a very long history the end is
    read.
    """
    try:
        file = regular_files.open_to_read(path)
    except FileNotFoundError:
        return HistoryChunk(b"", 0)
    with file:
        size = os.fstat(file.fileno()).st_size
        if after > size:
            raise BeyondEnd(f"the history has {size:,} bytes, no {after:,}: begin at 0")
        start = max(after, size - MOST_HISTORY_BYTES)
        if start > 0:
            start = max(start, _after_newline(file.fileno(), start - 1, size))
        return _lines_from(file.fileno(), start, size)


def _lines_from(descriptor: int, start: int, size: int) -> HistoryChunk:
    content = os.pread(descriptor, MOST_BYTES, start)
    whole = content.rfind(b"\n") + 1
    if whole == 0 and len(content) == MOST_BYTES:
        return HistoryChunk(b"", _after_newline(descriptor, start, size))
    return HistoryChunk(content[:whole], start + whole)


def _after_newline(descriptor: int, place: int, size: int) -> int:
    """Return where the line ends that this place is in.

    So far on as lines may be long if it is longer; the place if it has no end yet.
    """
    for position in range(place, min(size, place + LONGEST_LINE), MOST_BYTES):
        found = os.pread(descriptor, MOST_BYTES, position).find(b"\n")
        if found >= 0:
            return position + found + 1
    return place + LONGEST_LINE if place + LONGEST_LINE < size else place
