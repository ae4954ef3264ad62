"""Writes `history.jsonl`: a line for each capture, in the order of recording."""

import os
from pathlib import Path

from attnmon_renderer.results import Results
from attnmon_renderer.sinks.statistics_json import StatisticsText
from attnmon_renderer.storage import atomic_files, records


class History:
    """Appends lines, each by one write, so that a reader never sees half of one.

    A recorder may die after it has written a line; the next one then gets the same capture again,
    so its first line is compared with the last one in the file. A line that a crash of the machine
    cut short is ended first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fresh = True

    def append(self, results: Results, text: StatisticsText, error: str = "") -> None:
        """Write one capture's line, which is its text. Raises OSError."""
        if self._fresh and self._is_last_line(results):
            return
        descriptor = atomic_files.open_to_append(self._path)
        try:
            line_end = b"\n" if self._fresh and self._ends_torn() else b""
            self._write(descriptor, line_end + text.line(error).encode())
        finally:
            os.close(descriptor)
        self._fresh = False

    def _write(self, descriptor: int, content: bytes) -> None:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, content) != len(content):
            os.ftruncate(descriptor, before)  # a full disk took half of the line
            raise OSError(28, "no space left for a line", str(self._path))
        os.fsync(descriptor)

    def _tail(self) -> bytes:
        try:
            return records.read_tail(self._path)
        except FileNotFoundError:
            return b""

    def _ends_torn(self) -> bool:
        tail = self._tail()
        return bool(tail) and not tail.endswith(b"\n")

    def _is_last_line(self, results: Results) -> bool:
        lines = self._tail().splitlines()
        last = records.read_capture(lines[-1]) if lines else None
        of_last = (last or {}).get("metadata", {})
        return (of_last.get("step"), of_last.get("timestamp")) == (results.step, results.timestamp)
