"""Tells what of a run's directory is to be sent next, and in which pieces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from attnmon_renderer.mirror.journal import Journal
from attnmon_renderer.mirror.run_contents import (
    LocalFile,
    RunContents,
    grows,
    is_rewritten_often,
)
from attnmon_renderer.mirror.uploads import Upload, UploadedFile, is_plain_name
from attnmon_renderer.storage import regular_files

WAVE = 64
"""Objects after which it is asked whether to go on, and the index is written if it is due."""
PART_SECONDS = 60.0
"""How often a file that grows gets one more part."""
PART_BYTES = 16 << 20
"""So many bytes make a part at once, and no part is longer."""
REWRITTEN_SECONDS = 30.0
"""How often a file that is rewritten while the run goes on is sent again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be sent as one object."""

    name: str
    at: int
    size: int
    changed: int
    is_part: bool

    def object(self, checksum: str) -> str:
        """Return the name of the object where that is not the file's.

        It holds the checksum: a part is never written over, by whichever process.
        """
        return f"{self.name}.parts/{self.at:015}-{checksum}" if self.is_part else ""


class UnsentFiles:
    """What is in a run's directory and not in the bucket.

    Args:
        journal: what was sent.
    """

    def __init__(self, folder: Path, journal: Journal, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._contents = RunContents(folder)
        self._last_sent: dict[str, float] = {}
        """When a file that grows, or is rewritten often, was sent last."""
        self.disputed: set[str] = set()
        """Files of which either this process's bytes may be in the bucket, or another's."""

    def forget(self) -> None:
        """Begin anew, with another run."""
        self._last_sent.clear()
        self.disputed.clear()

    def note(self, upload: Upload) -> None:
        """Note that something was sent."""
        self._last_sent[upload.name] = self._clock()
        self.disputed.discard(upload.name)

    def is_older_copy(self) -> bool:
        """Return whether the bucket holds more of this run than the directory does."""
        return any(self._is_ahead(name, file) for name, file in self._contents.files().items())

    def known(self, name: str) -> UploadedFile | None:
        """Return what of a file is in the bucket for certain."""
        return None if name in self.disputed else self._journal.files.get(name)

    def pieces(self, everything: bool) -> list[Piece]:
        """Return what is to be sent: the files that grow last, for their lines name the others.

        Args:
            everything: also what is otherwise put off, because it will change again.
        """
        files = self._contents.files()
        self.disputed &= files.keys()
        found = [piece for name in files for piece in self._pieces_of(name, files[name], everything)
                 if is_plain_name(name)]  # fmt: skip
        return sorted(found, key=lambda piece: (piece.is_part, is_rewritten_often(piece.name)))

    def _pieces_of(self, name: str, file: LocalFile, everything: bool) -> Iterator[Piece]:
        known = self.known(name)
        since = self._clock() - self._last_sent.get(name, -REWRITTEN_SECONDS - PART_SECONDS)
        if self._is_ahead(name, file):
            return
        if grows(name):
            begin = 0 if known is None or file.size < known.size else known.size
            if everything or since >= PART_SECONDS or file.size - begin >= PART_BYTES:
                if known is not None and begin < file.size and not self._goes_on(name, known):
                    begin = 0
                for at in range(begin, file.size, PART_BYTES):
                    size = min(PART_BYTES, file.size - at)
                    yield Piece(name, at, size, file.changed, is_part=True)
            return
        is_new = known is None or (known.size, known.changed) != (file.size, file.changed)
        if is_new and (everything or not is_rewritten_often(name) or since >= REWRITTEN_SECONDS):
            yield Piece(name, 0, file.size, file.changed, is_part=False)

    def _is_ahead(self, name: str, file: LocalFile) -> bool:
        """Return whether another process has sent more of a file that grows than there is here."""
        known = self._journal.files.get(name)
        return known is not None and grows(name) and file.size < known.size and not known.changed

    def _goes_on(self, name: str, known: UploadedFile) -> bool:
        """Return whether a file still holds the last part that was sent, before what is new.

        Half a line that was sent may have been taken back since, on a full disk.
        """
        last = known.parts[-1]
        try:
            with regular_files.open_to_read(self._folder / name) as file:
                file.seek(last.at)
                return f"{google_crc32c.value(file.read(last.size)):08x}" == last.crc32c
        except OSError:
            return False


def waves(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield what may be sent side by side: the parts of one file come one after another."""
    whole = [piece for piece in pieces if not piece.is_part]
    for begin in range(0, len(whole), WAVE):
        yield whole[begin : begin + WAVE]
    for piece in pieces:
        if piece.is_part:
            yield [piece]
