"""Uploads what is new in a run's directory: data first, then the index that names it."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import google_crc32c

from attnmon_renderer.mirror.bucket_index import MOST_TRIES, IndexWriter
from attnmon_renderer.mirror.buckets.bucket import Bucket, BucketError, Changed
from attnmon_renderer.mirror.journal import Journal
from attnmon_renderer.mirror.pieces import PART_BYTES, Piece, UnsentFiles, waves
from attnmon_renderer.mirror.run_contents import run_id
from attnmon_renderer.mirror.uploads import Upload, is_plain_name
from attnmon_renderer.storage import earlier_runs, regular_files

SIDE_BY_SIDE = 8
"""Objects that are sent at a time: most of a small one's time is spent waiting."""
INDEX_SECONDS = 30.0
INDEX_FRACTION = 1 / 20
"""The index is written if the data is so much more, and at the latest after so long."""
UNNAMED_RUN = "unnamed"


class FileChanged(Exception):
    """A file was rewritten while it was read; it is sent again later."""


@dataclass(slots=True)
class Sent:
    """What an uploader has sent so far."""

    objects: int = 0
    data_bytes: int = 0
    index_bytes: int = 0


class Uploader:
    """Uploads one run's directory.

    Args:
        clock: seconds; for tests.
    """

    def __init__(
        self,
        folder: Path,
        bucket: Bucket,
        journal: Journal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._bucket = bucket
        self._journal = journal
        self._clock = clock
        self._unsent = UnsentFiles(folder, journal, clock)
        self._index = IndexWriter(bucket, journal.run or UNNAMED_RUN)
        self._index_written = -INDEX_SECONDS
        self._looked_at = ""
        """The run whose index was looked at: what the bucket holds of it is known."""
        self.sent = Sent()
        self._left = 0
        self.look_seconds = 0.0
        """Processor time of the last look for news, which grows with the run."""

    @property
    def pending(self) -> int:
        """Objects that are not in the bucket yet, as far as is known."""
        return self._left + len(self._unsent.disputed)

    def use(self, bucket: Bucket) -> None:
        """Go on with a bucket that was opened anew, with new credentials."""
        self._bucket = bucket
        self._index.use(bucket)

    def upload(self, *, everything: bool = False, go_on: Callable[[], bool] = lambda: True) -> None:
        """Send what is new. Raises `BucketError`; what was sent by then stays sent.

        Nothing is sent of a run that goes on and has no id yet: the bucket may hold another.

        Args:
            everything: also what is otherwise put off, because it will change again.
            go_on: asked now and then; where it returns False, what is left stays pending.
        """
        run = run_id(self._folder)
        if not run and not everything:
            return
        self._follow_run(run)
        before = time.process_time()
        pieces = self._unsent.pieces(everything)
        self.look_seconds = time.process_time() - before
        self._left = len(pieces) - len(self._unsent.disputed)
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for wave in waves(pieces):
                if not go_on():
                    break
                self._send_side_by_side(pool, wave)
                if self._index_is_due():
                    self._write_index()
        is_cheap = self.sent.index_bytes <= self.sent.data_bytes * INDEX_FRACTION
        if everything or is_cheap or self._index_is_due():
            self._write_index()

    def _send_side_by_side(self, pool: ThreadPoolExecutor, wave: list[Piece]) -> None:
        """Send objects and note each that is sent; after an error no more are begun."""
        errors = []
        sendings = [pool.submit(self._send, piece) for piece in wave]
        for sending in as_completed(sendings):
            if sending.cancelled():
                continue
            try:
                self._note(sending.result())
            except BucketError as error:
                errors.append(error)
                for waiting in sendings:
                    waiting.cancel()
        if errors:
            raise errors[0]

    def _follow_run(self, run: str) -> None:
        """Go on with the run that is in the directory now, from what the bucket holds of it."""
        run = run if is_plain_name(run) else self._journal.run or UNNAMED_RUN
        if run == self._looked_at:
            return
        if run != self._journal.run:
            self._journal.start_run(run)
            self._unsent.forget()
        self._index = IndexWriter(self._bucket, run)
        moved = {run_id(folder) for folder in earlier_runs.folders(self._folder)}
        self._journal.agree(self._index.take({UNNAMED_RUN, *moved}))
        if self._unsent.is_older_copy():
            raise BucketError(
                "taken", "it holds more of this run than this directory, which is an older copy"
            )
        self._looked_at = run

    def _send(self, piece: Piece) -> Upload | None:
        """Send an object; None if the file was removed or rewritten meanwhile."""
        try:
            with regular_files.open_to_read(self._folder / piece.name) as file:
                checksum = self._put(piece, file)
        except (OSError, FileChanged):
            return None
        return Upload(
            piece.name,
            piece.size,
            checksum,
            piece.object(checksum),
            piece.at,
            changed=piece.changed,
        )

    def _put(self, piece: Piece, file: IO[bytes]) -> str:
        """Send an object and return its checksum. A large one is never in memory as a whole."""
        _check_unchanged(piece, file)
        content: bytes | IO[bytes] = file
        if piece.size <= PART_BYTES:
            file.seek(piece.at)
            content = file.read(piece.size)
            if len(content) < piece.size:
                raise FileChanged(piece.name)
            checksum = google_crc32c.value(content)
        else:
            checksum = 0
            while block := file.read(PART_BYTES):
                checksum = google_crc32c.extend(checksum, block)
            file.seek(0)
        told = f"{checksum:08x}"
        if not self._is_there(piece, told):
            self._bucket.put(piece.object(told) or piece.name, content)
        _check_unchanged(piece, file)
        return told

    def _is_there(self, piece: Piece, checksum: str) -> bool:
        """Return whether the bucket holds these very bytes, as after the journal was lost."""
        known = None if piece.is_part else self._unsent.known(piece.name)
        return known is not None and (known.size, known.parts[0].crc32c) == (piece.size, checksum)

    def _note(self, upload: Upload | None) -> None:
        self._left -= 1
        if upload is None:
            return
        self._journal.add(upload)
        self._unsent.note(upload)
        self.sent.objects += 1
        self.sent.data_bytes += upload.size

    def _index_is_due(self) -> bool:
        return self._clock() - self._index_written >= INDEX_SECONDS

    def _write_index(self) -> None:
        """Have the index name what was sent, with what another process has sent of this run."""
        for _ in range(MOST_TRIES):
            try:
                self.sent.index_bytes += self._index.write(self._journal.uploads)
            except Changed:
                self._agree_with_other()
                continue
            self._index_written = self._clock()
            return
        raise BucketError("network", "another process uploads this run, too")

    def _agree_with_other(self) -> None:
        """Go on from what another process has written into the index of this run.

        Of a file that both have sent either's bytes may be in the bucket: it is sent again.
        """
        known = self._index.lines or 0
        ours = {upload.name for upload in self._journal.uploads[known:] if not upload.is_part}
        indexed = self._index.take()
        self._journal.agree(indexed)
        self._unsent.disputed |= ours & {upload.name for upload in indexed[known:]}


def _check_unchanged(piece: Piece, file: IO[bytes]) -> None:
    """Raise `FileChanged` if a file is not as it was listed. One that grows may have grown."""
    status = os.fstat(file.fileno())
    if not piece.is_part and (status.st_size, status.st_mtime_ns) != (piece.size, piece.changed):
        raise FileChanged(piece.name)
