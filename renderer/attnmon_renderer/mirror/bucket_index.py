"""The index of a mirrored run: which objects there are. Readers go by it, and never list a bucket.

`index.json` names the run's segments, `index/RUN/000001-000001.jsonl`, which hold the uploads and
never change. Each update adds a small segment; of 16 neighbours of one size one larger is made, so
that neither their number nor what is sent grows much. Objects are written before what names them.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from attnmon_renderer.mirror.bucket import Bucket, NoSuchObject
from attnmon_renderer.mirror.uploads import (
    Upload,
    UploadedFile,
    is_plain_name,
    note_upload,
    read_upload,
)
from attnmon_renderer.storage.json_fields import count, listed, number, parse, record, text

NAME = "index.json"
FORMAT = "attnmon-index 1"
MERGED = 16
"""So many segments of one size become one."""
MOST_SEGMENTS = 100_000

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

    def write(self, uploads: Sequence[Upload]) -> int:
        """Have the index name all these uploads; return the bytes sent. Raises `BucketError`."""
        if self._segments is None:
            self._segments = self._read_segments(uploads)
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

    def _read_segments(self, uploads: Sequence[Upload]) -> list[Segment]:
        """Return the segments of an index that an uploader before has written of these uploads."""
        try:
            index = _read_index(self._bucket)
        except (NoSuchObject, ValueError):
            return []
        found = [Segment(*segment) for segment in index["segments"]]
        if index["run"] != self._run:
            return []
        if _lines(found) <= len(uploads):
            return found
        last = found[-1].last  # the journal is another one: all is told anew
        self._put(Segment(last + 1, last + 1, 0), [])
        return [Segment(last + 1, last + 1, 0)]

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

    def read(self) -> dict[str, UploadedFile]:
        """Return what is in the bucket, by the file's name.

        Raises `BucketError`, `NoSuchObject` where there is no index, ValueError where it is none.
        """
        index = _read_index(self.bucket)
        if index["run"] != self.run:
            self.run, self._read = index["run"], {}
        segments = [Segment(*segment) for segment in index["segments"]]
        self._read = {
            segment: self._read.get(segment) or self._get(segment) for segment in segments
        }
        files: dict[str, UploadedFile] = {}
        for upload in chain.from_iterable(self._read.values()):
            note_upload(files, upload)
        return files

    def _get(self, segment: Segment) -> list[Upload]:
        content = self.bucket.get(segment.name(self.run))
        return [read_upload(line) for line in content.splitlines()]


def _read_index(bucket: Bucket) -> dict[str, Any]:
    index: dict[str, Any] = _INDEX(parse(bucket.get(NAME)))
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
