"""The journal of a run's uploads, `upload.jsonl`, by which an uploader goes on where one ended."""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon_renderer.mirror.uploads import Upload, UploadedFile, note_upload, read_upload
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.json_fields import count, parse, record, text

NAME = "upload.jsonl"
FORMAT = "attnmon-uploads 1"
MOST_BYTES = 1 << 30

_HEADING = record({"journal": text, "url": text, "run": text}, {"begun": count})


def read_heading(line: bytes) -> dict[str, Any]:
    """Return what a journal's first line says; nothing if it is none."""
    try:
        heading: dict[str, Any] = _HEADING(parse(line))
    except ValueError:
        return {}
    return heading


def was_uploaded_from(folder: Path) -> bool:
    """Return whether something in a bucket is from this directory, which is no mere copy."""
    try:
        lines = regular_files.read(folder / NAME, MOST_BYTES).splitlines()
    except OSError:
        return False
    for line in lines[1:]:
        with contextlib.suppress(ValueError):
            if read_upload(line).changed:
                return True
    return False


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
        self.trouble = ""
        """Why it cannot be written now: nothing is sent again for that, and it is tried again."""
        self._unwritten: list[bytes] = []
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
        """Note an object that is in the bucket."""
        self._append(upload.line(for_index=False))
        self.uploads.append(upload)
        note_upload(self.files, upload)

    def start_run(self, run: str) -> None:
        """Forget all that was uploaded: this is another run. Raises OSError."""
        os.ftruncate(self._descriptor, 0)
        self._unwritten.clear()
        self.uploads.clear()
        self.files.clear()
        self.run = run
        heading = {**self._heading(), "begun": time.time_ns()}  # tells it from the one before
        self._append(json.dumps(heading).encode() + b"\n")

    def agree(self, indexed: Sequence[Upload]) -> None:
        """Begin with what the bucket's index names; a journal that does already stays as it is.

        It does not where it was lost, or was of another URL meanwhile: then the index alone knows
        of files that were removed here. Raises OSError.
        """
        own = [replace(upload, changed=0) for upload in self.uploads]
        if own[: len(indexed)] == list(indexed):
            return
        known, sent = set(indexed), dict(zip(own, self.uploads, strict=True))
        later = [upload for plain, upload in zip(own, self.uploads, strict=True)
                 if plain not in known]  # fmt: skip
        self.start_run(self.run)
        for upload in [*(sent.get(each, each) for each in indexed), *later]:
            self.add(upload)

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
        heading = read_heading(lines[0]) if lines else {}
        self.run = heading.get("run", "")
        heading.pop("begun", None)
        if heading != self._heading():
            self.start_run("")
            return
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))  # it ended amid a line
        for line in lines[1:]:
            with contextlib.suppress(ValueError):
                self.uploads.append(read_upload(line))
                note_upload(self.files, self.uploads[-1])

    def write(self) -> None:
        """Write what could not be written before, as on a full disk."""
        try:
            while self._unwritten:
                self._write(self._unwritten[0])
                del self._unwritten[0]
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._path} cannot be written: {error.strerror}"

    def _append(self, line: bytes) -> None:
        self._unwritten.append(line)
        self.write()

    def _write(self, line: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        if os.write(self._descriptor, line) != len(line):
            os.ftruncate(self._descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
