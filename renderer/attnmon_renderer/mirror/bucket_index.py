"""The index of a mirrored run: which objects there are. Readers go by it, and never list a bucket.

`index.json` names the run's segments, `index/RUN/000001-000001-89abcdef.jsonl`, which hold the
uploads and never change. Each update adds a small segment; of 16 neighbours of one size one larger
is made, so that neither their number nor what is sent grows much. Objects are written before what
names them.

Several processes may write one index: each writes only over the version that it has seen, and a
segment's name holds its checksum, so that none writes over another's.
"""

import json
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import google_crc32c

from attnmon_renderer.mirror.buckets.bucket import (
    Bucket,
    BucketError,
    Changed,
    NoSuchObject,
    Version,
    get,
)
from attnmon_renderer.mirror.uploads import (
    Upload,
    UploadedFile,
    is_plain_name,
    read_upload,
    uploaded_files,
)
from attnmon_renderer.storage.json_fields import count, listed, number, parse, record, text

NAME = "index.json"
FORMAT = "attnmon-index 1"
MERGED = 16
"""So many segments of one size become one."""
MOST_SEGMENTS = 100_000
MOST_INDEX_BYTES = 1 << 22
MOST_TRIES = 5
"""How often the index is looked at again because another process has written it meanwhile."""

_SEGMENT = listed(count, 4)
_INDEX = record(
    {"format": text, "run": text, "segments": listed(_SEGMENT, MOST_SEGMENTS)}, {"written": number}
)


class Segment(NamedTuple):
    """The uploads of some updates in a row."""

    first: int
    """Number of the first update; they count from 1."""
    last: int
    lines: int
    """Uploads in it."""
    checksum: int
    """CRC32C of its object."""

    def name(self, run: str) -> str:
        """Return the name of its object."""
        return f"index/{run}/{self.first:06}-{self.last:06}-{self.checksum:08x}.jsonl"


class IndexWriter:
    """Writes the index of one run's uploads.

    Args:
        run: names the run in the bucket.
    """

    def __init__(self, bucket: Bucket, run: str) -> None:
        self._bucket = bucket
        self._run = run
        self._segments: list[Segment] | None = None
        """Those that the index names; None before it was looked at."""
        self._version: Version | None = None
        """Of the index, when it was looked at or written last."""
        self._outdated: list[Segment] = []
        """Merged into others. They go with the next merge: a reader may have the index before."""

    def use(self, bucket: Bucket) -> None:
        """Go on with a bucket that was opened anew."""
        self._bucket = bucket

    @property
    def lines(self) -> int | None:
        """The number of uploads that the index names; None before it was looked at."""
        return None if self._segments is None else _lines(self._segments)

    def take(self, replaceable: Set[str] = frozenset()) -> list[Upload]:
        """Take the place for this run; return what an index names of it already.

        Args:
            replaceable: other runs, whose index may make way for this run's.

        Raises:
            BucketError: of kind "taken" where another run's index is, or something else.
        """
        for _ in range(MOST_TRIES):
            self._version = self._bucket.version(NAME)
            reader = IndexReader(self._bucket)
            uploads = [] if self._version is None else self._look(reader, replaceable)
            self._segments = reader.segments if reader.run == self._run else []
            try:
                if not self._segments:
                    self._put_index([])  # before any data: two runs would mix theirs
            except Changed:
                continue
            return uploads
        raise BucketError("network", f"{NAME} is written again and again by another process")

    def _look(self, reader: "IndexReader", replaceable: Set[str]) -> list[Upload]:
        try:
            uploads = reader.uploads()
        except NoSuchObject:
            return []
        except ValueError as error:
            raise BucketError("taken", f"{NAME} there is no index of a run ({error})") from None
        if reader.run == self._run:
            return uploads
        if reader.run not in replaceable:
            raise BucketError("taken", f"it holds another run, {reader.run}")
        return []

    def write(self, uploads: Sequence[Upload]) -> int:
        """Have the index name all these uploads; return the bytes sent.

        They begin with those that it names already.

        Raises:
            BucketError: it cannot be written.
            Changed: another process has written it. `take` says what it names now.
        """
        if self._segments is None:
            self.take()
        assert self._segments is not None
        begin = _lines(self._segments)
        if begin == len(uploads):
            return 0
        segments = list(self._segments)
        update = segments[-1].last + 1 if segments else 1
        new, sent = self._put(update, update, uploads[begin:])
        segments.append(new)
        merged = self._merge(segments, uploads)
        sent += self._put_index(segments)
        self._segments = segments
        if merged:
            for segment in self._outdated:
                self._bucket.delete(segment.name(self._run))
            self._outdated = merged
        return sent

    def _put_index(self, segments: list[Segment]) -> int:
        content = _index(self._run, segments)
        self._version = self._bucket.put_over(NAME, content, self._version)
        return len(content)

    def _merge(self, segments: list[Segment], uploads: Sequence[Upload]) -> list[Segment]:
        """Replace as many neighbours of one size as are to be one; return those."""
        group = segments[-MERGED:]
        sizes = {segment.last - segment.first for segment in group}
        if len(group) < MERGED or len(sizes) > 1:
            return []
        begin = len(uploads) - _lines(group)
        segments[-MERGED:] = [self._put(group[0].first, group[-1].last, uploads[begin:])[0]]
        return group

    def _put(self, first: int, last: int, uploads: Sequence[Upload]) -> tuple[Segment, int]:
        content = b"".join(upload.line(for_index=True) for upload in uploads)
        segment = Segment(first, last, len(uploads), google_crc32c.value(content))
        self._bucket.put(segment.name(self._run), content)
        return segment, len(content)


@dataclass(slots=True)
class IndexReader:
    """Reads an index again and again; a segment is read once."""

    bucket: Bucket
    run: str = ""
    """The run whose index was read last."""
    _read: dict[Segment, list[Upload]] = field(default_factory=dict)

    @property
    def segments(self) -> list[Segment]:
        """Those that the index named when it was read last."""
        return list(self._read)

    def read(self) -> dict[str, UploadedFile]:
        """Return what is in the bucket, by the file's name. Raises what `uploads` does."""
        return uploaded_files(self.uploads())

    def uploads(self) -> list[Upload]:
        """Return all uploads, oldest first.

        Raises `BucketError`, `NoSuchObject` where there is no index, ValueError where it is none.
        """
        index = _read_index(self.bucket)
        if index["run"] != self.run:
            self.run, self._read = index["run"], {}
        segments = [Segment(*segment) for segment in index["segments"]]
        self._read = {
            segment: self._read.get(segment) or self._get(segment) for segment in segments
        }
        return list(chain.from_iterable(self._read.values()))

    def _get(self, segment: Segment) -> list[Upload]:
        content = get(self.bucket, segment.name(self.run))
        uploads = [read_upload(line) for line in content.splitlines()]
        if (len(uploads), google_crc32c.value(content)) != (segment.lines, segment.checksum):
            raise ValueError(f"{segment.name(self.run)} is damaged")
        return uploads


def _read_index(bucket: Bucket) -> dict[str, Any]:
    index: dict[str, Any] = _INDEX(parse(get(bucket, NAME, MOST_INDEX_BYTES)))
    if index["format"] != FORMAT:
        raise ValueError(f"{NAME} is of the format {index['format']!r}, not {FORMAT!r}")
    if any(len(segment) != 4 for segment in index["segments"]):
        raise ValueError(f"{NAME} names segments that are none")
    if not is_plain_name(index["run"]):
        raise ValueError(f"{NAME} is of a run {index['run']!r}")
    return index


def _index(run: str, segments: list[Segment]) -> bytes:
    content = {"format": FORMAT, "run": run, "written": time.time(),
               "segments": segments}  # fmt: skip
    return json.dumps(content, separators=(",", ":")).encode()


def _lines(segments: Sequence[Segment]) -> int:
    return sum(segment.lines for segment in segments)
