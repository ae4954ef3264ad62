"""Files that are there whole or not at all."""

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PRIVATE_FOLDER = 0o700  # attention shows training text: only its owner is to see it
PRIVATE_FILE = 0o600


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` when the block ends well.

    Raises OSError as the disk gives it, also for what only shows when the bytes are really
    written; then `path` is as it was and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):  # there is no folder yet, or no more
        _remove_orphans(path)
    try:
        with _create(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what is told
            temporary.unlink(missing_ok=True)
        raise


def _remove_orphans(path: Path) -> None:
    """What a writer of this file left when it was killed; its process id is in the name."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdecimal() and not os.path.exists(f"/proc/{pid}") and os.path.exists("/proc/self"):
            left.unlink(missing_ok=True)


def remove_orphans_of(pids: Collection[int], folder: Path) -> None:
    """What these writers, now dead, left half written at any depth below the folder."""
    for left in list(folder.rglob(".*.tmp")) if pids else ():
        if left.name.split(".")[-2] in map(str, pids):
            left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                left.parent.rmdir()  # where nothing else was written


def replace(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one move. Raises OSError."""
    with replacing(path) as file:
        file.write(content)


def anonymous_file(write: Callable[[IO[bytes]], object]) -> int:
    """The descriptor of a file without a name, written by `write` and set back to its start."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("attnmon-results", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        with open(descriptor, "wb", closefd=False) as file:
            write(file)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _create(path: Path) -> IO[bytes]:
    """The file; made again, if its folder was removed in between, for being empty."""
    try:
        return _create_in_folder(path)
    except FileNotFoundError:
        return _create_in_folder(path)


def _create_in_folder(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return open(path, "wb", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
