"""Writes files that are there whole or not at all."""

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
    """Give a file to write, which replaces `path` when the block ends without an error.

    Raises OSError, also for an error that shows only when the bytes reach the disk. Then `path`
    is as it was and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with contextlib.suppress(FileNotFoundError):  # the folder does not exist
        _remove_orphans(path)
    try:
        with _create(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to raise
            temporary.unlink(missing_ok=True)
        raise


def _remove_orphans(path: Path) -> None:
    """Remove what killed writers of this file left; their process id is in the name."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        if pid.isdecimal() and not os.path.exists(f"/proc/{pid}") and os.path.exists("/proc/self"):
            left.unlink(missing_ok=True)


def remove_orphans_of(pids: Collection[int], folder: Path) -> None:
    """Remove what these dead writers left half written, at any depth below the folder."""
    for left in list(folder.rglob(".*.tmp")) if pids else ():
        if left.name.split(".")[-2] in map(str, pids):
            left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                left.parent.rmdir()  # succeeds only when it is empty


def replace(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises OSError."""
    with replacing(path) as file:
        file.write(content)


def anonymous_file(write: Callable[[IO[bytes]], object]) -> int:
    """Return the descriptor of a nameless file, written by `write` and rewound. Raises OSError."""
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
    """Create a file; once more, if another process has just removed its folder for being empty."""
    try:
        return _create_in_folder(path)
    except FileNotFoundError:
        return _create_in_folder(path)


def _create_in_folder(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    return open(path, "wb", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
