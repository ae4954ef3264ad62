"""Writes files that are there whole or not at all, and opens those that are appended to."""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.regular_files import opened_folder

_TEMPORARY = re.compile(r"\..+\.attnmon-(\d+)-[0-9a-f]+\.tmp")
"""The name of a file that is being written; the number is the writer's process id."""


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write, which replaces `path` when the block ends without an error.

    Raises OSError, also for an error that shows only when the bytes reach the disk, and where
    `path` is no regular file. Then it is as it was and nothing else is left.
    """
    with _created_beside(path) as (folder, temporary, file):
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to raise
                os.unlink(temporary, dir_fd=folder)
            raise


def replace(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically. Raises OSError."""
    with replacing(path) as file:
        file.write(content)


def open_to_append(path: Path) -> int:
    """Return the descriptor of a file to append to. Raises OSError.

    One with several names is copied first: by another name it may be another's.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with opened_folder(path.parent, create=True):
        descriptor = regular_files.open_file(path, flags)
    if os.fstat(descriptor).st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    with regular_files.open_to_read(path) as shared, replacing(path) as own:
        shutil.copyfileobj(shared, own)
    return regular_files.open_file(path, flags)


def remove_orphans(folder: Path, pids: Collection[int] = ()) -> None:
    """Remove from one folder what dead writers left half written: those of these process ids.

    Without ids, those of all processes that do not live any more.
    """
    for name in regular_files.files_in(folder):
        writer = _TEMPORARY.fullmatch(name)
        if writer and _is_dead(int(writer[1]), pids):
            with contextlib.suppress(OSError):
                regular_files.remove(folder / name)


def remove_orphans_of(pids: Collection[int], save_dir: Path) -> None:
    """Remove what these dead writers left half written in a run's directory."""
    if not pids:
        return
    remove_orphans(save_dir, pids)
    for name in regular_files.folders_in(save_dir):
        remove_orphans(save_dir / name, pids)
        with contextlib.suppress(OSError):
            regular_files.remove_if_empty(save_dir / name)


def _is_dead(pid: int, pids: Collection[int]) -> bool:
    if pids:
        return pid in pids
    return os.path.exists("/proc/self") and not os.path.exists(f"/proc/{pid}")


@contextmanager
def _created_beside(path: Path) -> Iterator[tuple[int, str, IO[bytes]]]:
    """Give the folder's descriptor, and the name and the file that is to replace `path`."""
    with contextlib.ExitStack() as stack:
        try:
            folder, temporary, file = _create(path, stack)
        except FileNotFoundError:  # another process has just removed the folder for being empty
            folder, temporary, file = _create(path, stack)
        yield folder, temporary, file


def _create(path: Path, stack: contextlib.ExitStack) -> tuple[int, str, IO[bytes]]:
    folder = stack.enter_context(opened_folder(path.parent, create=True))
    regular_files.require_regular(path, folder)
    temporary = f".{path.name:.40}.attnmon-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    return folder, temporary, regular_files.create_in(folder, temporary)
