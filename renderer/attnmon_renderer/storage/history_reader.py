"""Reads `history.jsonl`, which may be damaged, and longer than memory has room for."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.records import read_capture

MOST_HISTORY_BYTES = 1 << 32
"""Of a longer history the end is read."""
LONGEST_LINE = 1 << 24
_TAIL_BYTES = 1 << 20


class HistoryLine(NamedTuple):
    """A line, and where it begins."""

    place: int
    """Bytes from the beginning of the file."""
    content: bytes
    """Empty in place of one that is too long."""


class HistoryFile:
    """A history that is open to be read; one that is not there, or cannot be, has no lines.

    Args:
        damages: takes a line for each thing that is left out.
    """

    def __init__(self, path: Path, damages: list[str]) -> None:
        self._place = shown_place(path)
        self._damages = damages
        self._file: IO[bytes] | None = None
        try:
            self._file = regular_files.open_to_read(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            damages.append(f"{self._place} is left out: {error}")

    def __enter__(self) -> "HistoryFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def lines(self, most: int | None = None) -> Iterator[HistoryLine]:
        """Yield the lines that are not blank, oldest first.

        Of very many about `most`, if it is given: evenly spaced, the first and the last with them.
        """
        if (file := self._file) is None:
            return
        size = file.seek(0, 2)
        place = begin = end = first = self._first_place(size)
        last = _begin_of_last_line(file, size)
        spacing = 1 if most is None else max(1, (size - first) // most)
        file.seek(place)
        while place < size:
            if place > end:
                file.seek(place - 1)
                place += len(file.readline(LONGEST_LINE)) - 1
            begin, (content, length) = place, _read_line(file)
            if not length:
                return
            end = begin + length
            if not content.isspace():
                yield HistoryLine(begin, content)
            next_mark = first + ((begin - first) // spacing + 1) * spacing
            place = max(end, min(next_mark, last))

    def captures(self, most: int) -> Iterator[dict[str, Any]]:
        """Yield the captures, oldest first; of very many about so many, as `lines` does."""
        torn = 0
        for line in self.lines(most):
            capture = read_capture(line.content)
            if capture is None:
                torn += 1
            else:
                yield capture
        self.tell_left_out(torn)

    def read(self, place: int) -> dict[str, Any] | None:
        """Return the capture whose line begins here; None if it is torn or none."""
        return read_capture(self.line(place))

    def line(self, place: int) -> bytes:
        """Return the line that begins here; nothing in place of one that is too long."""
        if self._file is None:
            return b""
        self._file.seek(place)
        return _read_line(self._file)[0]

    def tell_left_out(self, lines: int) -> None:
        """Tell that so many lines are damaged, if there are any."""
        if lines:
            left_out = "1 line is" if lines == 1 else f"{lines:,} lines are"
            self._damages.append(f"{self._place}: {left_out} left out: torn, or no capture")

    def _first_place(self, size: int) -> int:
        excess = max(size - MOST_HISTORY_BYTES, 0)
        if excess:
            cut = f"the first {excess:,} bytes are left out: it is too long"
            self._damages.append(f"{self._place}: {cut}")
        return excess


def _read_line(file: IO[bytes]) -> tuple[bytes, int]:
    """Return the next line and its length; nothing in place of one that is too long."""
    content = file.readline(LONGEST_LINE)
    length = len(content)
    if length < LONGEST_LINE or content.endswith(b"\n"):
        return content, length
    while rest := file.readline(LONGEST_LINE):
        length += len(rest)
        if rest.endswith(b"\n"):
            break
    return b"", length


def _begin_of_last_line(file: IO[bytes], size: int) -> int:
    """Return where the last line begins; the end of the file if that is far away."""
    tail = file.read(size - file.seek(max(0, size - _TAIL_BYTES)))
    before = tail.rstrip().rfind(b"\n")
    return size if before < 0 else size - len(tail) + before + 1
