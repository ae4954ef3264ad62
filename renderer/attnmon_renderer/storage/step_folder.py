"""Where the files of one step go: a folder of them, or one zip file.

A zip file is for clusters that count files. It is not compressed: pictures are already.
"""

import io
import zipfile
from pathlib import Path
from typing import Protocol

from attnmon_renderer.storage import atomic_files, paths

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date there is: the same pictures give the same bytes


class StepOutput(Protocol):
    """Takes the files of one step."""

    def put(self, name: str, content: bytes) -> None:
        """Raises OSError."""

    def finish(self) -> None:
        """All is there. Raises OSError."""


def step_output(folder: Path, pack: bool) -> StepOutput:
    """The folder itself, or a zip file of its name beside it."""
    return StepZip(folder.with_name(folder.name + paths.PACKED)) if pack else StepFolder(folder)


def is_step_zip(path: Path) -> bool:
    """Whether a zip file was written here; somebody may have packed a step's folder himself."""
    try:
        with zipfile.ZipFile(path) as pack:
            members = pack.infolist()
    except (OSError, zipfile.BadZipFile):
        return False
    return all(
        about.date_time == _EPOCH
        and (about.filename == paths.STATISTICS or paths.is_removable(about.filename))
        for about in members
    )


class StepFolder:
    """Each file by itself, as soon as it is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, content: bytes) -> None:
        atomic_files.replace(self._path / name, content)

    def finish(self) -> None:
        pass


class StepZip:
    """All files at once, when the last is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._buffer = io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_STORED)

    def put(self, name: str, content: bytes) -> None:
        about = zipfile.ZipInfo(name, _EPOCH)
        about.external_attr = atomic_files.PRIVATE_FILE << 16
        self._zip.writestr(about, content)

    def finish(self) -> None:
        empty = not self._zip.namelist()
        self._zip.close()
        if not empty:
            atomic_files.replace(self._path, self._buffer.getvalue())
