"""The place for the files of one step: a folder, or one zip file.

Zip files are for clusters that limit the number of files. They are not compressed: pictures are.
"""

import io
import zipfile
from pathlib import Path
from typing import Protocol

from attnmon_renderer.storage import atomic_files, packed_step, paths, regular_files

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date there is: the same pictures give the same bytes


class StepOutput(Protocol):
    """Where the files of one step are written."""

    def put(self, name: str, content: bytes) -> None:
        """Add a file. Raises OSError."""

    def finish(self) -> None:
        """End the output: all files are there. Raises OSError."""


def step_output(folder: Path, pack: bool) -> StepOutput:
    """Return an output to a folder, or to a zip file of its name beside it."""
    return StepZip(folder.with_name(folder.name + paths.PACKED)) if pack else StepFolder(folder)


def is_step_zip(path: Path) -> bool:
    """Return whether attnmon wrote a zip file: a user may have packed a step's folder, too."""
    try:
        members = packed_step.members(path)
    except (OSError, zipfile.BadZipFile):
        return False
    return all(
        about.date_time == _EPOCH
        and (about.filename == paths.STATISTICS or paths.is_removable(about.filename))
        for about in members
    )


class StepFolder:
    """Writes each file by itself, at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, content: bytes) -> None:
        atomic_files.replace(self._path / name, content)

    def finish(self) -> None:
        pass


class StepZip:
    """Writes one zip file when all files are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_STORED)

    def put(self, name: str, content: bytes) -> None:
        about = zipfile.ZipInfo(name, _EPOCH)
        about.external_attr = regular_files.file_mode() << 16
        self._zip.writestr(about, content)

    def finish(self) -> None:
        empty = not self._zip.namelist()
        self._zip.close()
        if not empty:
            atomic_files.replace(self._path, self._buffer.getvalue())
