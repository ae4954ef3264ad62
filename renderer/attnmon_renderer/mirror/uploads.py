"""The log of what was uploaded: one line for each object, oldest first.

The journal in the run's directory and the index in the bucket are the same lines, so that either
can be made from the other. A file that grows is uploaded in parts, each an object of its own; any
other is one object of its own name, and a later line of the same name replaces an earlier one.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from attnmon_renderer.storage.json_fields import Check, Misfit, count, parse, record, text

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
DEEPEST_NAME = 6
"""The most parts of a path in a bucket: a run's files stand a few levels deep."""

_LINE: Check = record(
    {"name": text, "size": count, "crc32c": text},
    {"at": count, "object": text, "changed": count},
)


@dataclass(frozen=True, slots=True)
class Upload:
    """One object in the bucket."""

    name: str
    """The file's path in the run's directory."""
    size: int
    """Bytes of the object."""
    crc32c: str
    """Of the object, in hexadecimal."""
    object: str = ""
    """The object's name where that is not the file's: for the part of a file that grows."""
    at: int = 0
    """Where in the file the part begins."""
    changed: int = 0
    """When the file had last changed, in nanoseconds since 1970: known in the journal only."""

    @property
    def object_name(self) -> str:
        return self.object or self.name

    @property
    def is_part(self) -> bool:
        """Whether the object is a part of a file that grows."""
        return bool(self.object)

    def line(self, *, for_index: bool) -> bytes:
        """Return it as a line of the journal, or of the index."""
        given = asdict(self) | ({"changed": 0} if for_index else {})
        shown = {name: value for name, value in given.items() if value or name in _REQUIRED}
        return json.dumps(shown, separators=(",", ":")).encode() + b"\n"


_REQUIRED = ("name", "size", "crc32c")


def read_upload(line: bytes) -> Upload:
    """Return the upload of a line. Raises ValueError if it is none, or leads out of the run."""
    upload = Upload(**_LINE(parse(line)))
    if not is_plain_name(upload.name) or not is_plain_name(upload.object_name):
        raise Misfit(f"a file of a run: {upload.name!r}")
    return upload


def is_plain_name(name: str) -> bool:
    """Return whether a path is of plain names below the run's directory."""
    parts = name.split("/")
    return len(parts) <= DEEPEST_NAME and all(map(_NAME.fullmatch, parts))


@dataclass(slots=True)
class UploadedFile:
    """What of one file is in the bucket."""

    parts: list[Upload] = field(default_factory=list)
    """Whole and in order; one for a file that does not grow."""

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def changed(self) -> int:
        return self.parts[-1].changed


def uploaded_files(uploads: Iterable[Upload]) -> dict[str, UploadedFile]:
    """Return what is in the bucket, by the file's name."""
    files: dict[str, UploadedFile] = {}
    for upload in uploads:
        note_upload(files, upload)
    return files


def note_upload(files: dict[str, UploadedFile], upload: Upload) -> None:
    """Add an upload to what is in the bucket. A part from 0 on begins the file anew."""
    known = files.get(upload.name)
    if known is not None and upload.is_part and upload.at == known.size:
        known.parts.append(upload)
    elif not upload.is_part or upload.at == 0:
        files[upload.name] = UploadedFile([upload])
