"""The index of a mirrored run: which objects there are. Readers go by it, and never list a bucket.

`index.json` names the run's segments, `index/RUN/000001-000001.jsonl`, which hold the uploads and
never change. Each update adds a small segment; of 16 neighbours of one size one larger is made, so
that neither their number nor what is sent grows much. Objects are written before what names them.
"""

import json
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from attnmon_renderer.mirror.bucket import Bucket, BucketError, NoSuchObject, get
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

_SEGMENT = listed(count, 3)
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

    def name(self, run: str) -> str:
        """Return the name of its object."""
        return f"index/{run}/{self.first:06}-{self.last:06}.jsonl"


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
        self._outdated: list[Segment] = []
        """Merged into others. They go with the next merge: a reader may have the index before."""

    def use(self, bucket: Bucket) -> None:
        """Go on with a bucket that was opened anew."""
        self._bucket = bucket

    @property
    def lines(self) -> int | None:
        """The number of uploads that the index names; None before it was looked at."""
        return None if self._segments is None else _lines(self._segments)

    def look(self, replaceable: Set[str] = frozenset()) -> list[Upload]:
        """Return what an index names of this run already, and go on from there.

        Args:
            replaceable: other runs, whose index may make way for this run's.

        Raises:
            BucketError: of kind "taken" where another run's index is, or something else.
        """
        reader = IndexReader(self._bucket)
        self._segments = []
        try:
            uploads = reader.uploads()
        except NoSuchObject:
            return []
        except ValueError as error:
            raise BucketError("taken", f"{NAME} there is no index of a run ({error})") from None
        if reader.run == self._run:
            self._segments = reader.segments
            return uploads
        if reader.run not in replaceable:
            raise BucketError("taken", f"it holds another run, {reader.run}")
        return []

    def write(self, uploads: Sequence[Upload]) -> int:
        """Have the index name all these uploads; return the bytes sent. Raises `BucketError`.

        They begin with those that it names already.
        """
        if self._segments is None:
            self.look()
        assert self._segments is not None
        if self._segments and self.lines == len(uploads):
            return 0
        segments, sent = list(self._segments), 0
        if _lines(segments) < len(uploads):
            begin = _lines(segments)
            update = segments[-1].last + 1 if segments else 1
            segments.append(Segment(update, update, len(uploads) - begin))
            sent += self._put(segments[-1], uploads[begin:])
        merged = self._merge(segments, uploads)
        content = _index(self._run, segments)
        self._bucket.put(NAME, content)
        self._segments = segments
        if merged:
            for segment in self._outdated:
                self._bucket.delete(segment.name(self._run))
            self._outdated = merged
        return sent + len(content)

    def _merge(self, segments: list[Segment], uploads: Sequence[Upload]) -> list[Segment]:
        """Replace as many neighbours of one size as are to be one; return those."""
        group = segments[-MERGED:]
        sizes = {segment.last - segment.first for segment in group}
        if len(group) < MERGED or len(sizes) > 1:
            return []
        lines = _lines(group)
        one = Segment(group[0].first, group[-1].last, lines)
        self._put(one, uploads[len(uploads) - lines :])
        segments[-MERGED:] = [one]
        return group

    def _put(self, segment: Segment, uploads: Sequence[Upload]) -> int:
        content = b"".join(upload.line(for_index=True) for upload in uploads)
        self._bucket.put(segment.name(self._run), content)
        return len(content)


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
        if len(uploads) != segment.lines:
            raise ValueError(f"{segment.name(self.run)} holds {len(uploads)} lines")
        return uploads


def _read_index(bucket: Bucket) -> dict[str, Any]:
    index: dict[str, Any] = _INDEX(parse(get(bucket, NAME, MOST_INDEX_BYTES)))
    if index["format"] != FORMAT:
        raise ValueError(f"{NAME} is of the format {index['format']!r}, not {FORMAT!r}")
    if any(len(segment) != 3 for segment in index["segments"]):
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
