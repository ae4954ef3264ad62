"""Reads the history of one part of a model as it grows, a block at a time."""

from dataclasses import dataclass
from pathlib import Path

from attnmon_renderer.model_ranks.record_merging import Record
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.history_reader import LONGEST_LINE
from attnmon_renderer.storage.records import read_capture

BLOCK_BYTES = 1 << 20
"""About so much is read at a time: many parts are read side by side."""


@dataclass(frozen=True, slots=True)
class RankRecord:
    """A capture of one part, and the line where it stands."""

    place: int
    """Bytes from the beginning of the file."""
    size: int
    record: Record

    @property
    def step(self) -> int:
        step: int = self.record["metadata"]["step"]
        return step


class RankHistory:
    """The history of one part. Lines that are no captures are left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.last_step: int | None = None
        """Of what was read so far."""
        self.is_at_end = False
        """Whether there was no more to read."""

    def next_block(self) -> list[RankRecord]:
        """Return the captures of the next lines; none at the end."""
        found: list[RankRecord] = []
        begin = self._read
        self.is_at_end = True
        try:
            with regular_files.open_to_read(self._path) as file:
                file.seek(begin)
                while line := file.readline(LONGEST_LINE):
                    if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
                        break  # it is being written
                    if (record := read_capture(line)) is not None:
                        found.append(RankRecord(self._read, len(line), record))
                    self._read += len(line)
                    if self._read - begin >= BLOCK_BYTES:
                        self.is_at_end = False
                        break
        except OSError:
            return []
        if found:
            self.last_step = found[-1].step
        return found

    def record(self, place: int) -> Record | None:
        """Return the capture whose line begins here; None if it cannot be read any more."""
        try:
            with regular_files.open_to_read(self._path) as file:
                file.seek(place)
                return read_capture(file.readline(LONGEST_LINE))
        except OSError:
            return None
