"""The journal of a run's uploads, `upload.jsonl`, by which an uploader goes on where one ended."""

import contextlib
import fcntl
import json
import os
from pathlib import Path

from attnmon_renderer.mirror.uploads import Upload, UploadedFile, note_upload, read_upload
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.json_fields import parse, record, text

NAME = "upload.jsonl"
FORMAT = "attnmon-uploads 1"
MOST_BYTES = 1 << 30

_HEADING = record({"journal": text, "url": text, "run": text}, {})


class InUse(Exception):
    """Another process uploads from this directory."""


class Journal:
    """The uploads of one run to one URL; the file's first line names both.

    Args:
        folder: the run's directory. One process at a time holds its journal.

    Raises:
        InUse: another process holds it.
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._path = folder / NAME
        self._url = url
        self.run = ""
        """The run that the uploads are of: its id in `run.json`."""
        self.uploads: list[Upload] = []
        self.files: dict[str, UploadedFile] = {}
        self._descriptor = atomic_files.open_to_append(self._path)
        try:
            self._take()
            self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Let another process upload."""
        os.close(self._descriptor)

    def add(self, upload: Upload) -> None:
        """Note an object that is in the bucket. Raises OSError."""
        self._append(upload.line(for_index=False))
        self.uploads.append(upload)
        note_upload(self.files, upload)

    def start_run(self, run: str) -> None:
        """Forget all that was uploaded: this is another run. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        self.uploads.clear()
        self.files.clear()
        self.run = run
        self._append(json.dumps(self._heading()).encode() + b"\n")

    def _take(self) -> None:
        with contextlib.suppress(OSError):  # a file system without locks: readers go by the index
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(
                    f"another process uploads {self._path.parent} already: it goes on by itself; "
                    "wait for its end, or end it"
                ) from None

    def _heading(self) -> dict[str, str]:
        return {"journal": FORMAT, "url": self._url, "run": self.run}

    def _read(self) -> None:
        content = regular_files.read(self._path, MOST_BYTES)
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        try:
            heading = _HEADING(parse(lines[0])) if lines else {}
        except ValueError:
            heading = {}
        self.run = heading.get("run", "")
        if heading != self._heading():
            self.start_run("")
            return
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))  # it ended amid a line
        for line in lines[1:]:
            with contextlib.suppress(ValueError):
                self.uploads.append(read_upload(line))
                note_upload(self.files, self.uploads[-1])

    def _append(self, line: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        if os.write(self._descriptor, line) != len(line):
            os.ftruncate(self._descriptor, before)
            raise OSError(28, "no space left for a line", str(self._path))
