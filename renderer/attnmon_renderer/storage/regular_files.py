"""Opens what a run's directory holds: regular files and folders, and nothing that a link leads to.

A directory may have been sent by somebody, or be open to others. A link, a pipe or a device that
was put there is neither read nor written. So no part of a path is followed here. `resolved`
follows, once, the links by which a user names a directory.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

PRIVATE_FOLDER = 0o700  # attention shows training text: only its owner is to see it
MOST_BYTES = 1 << 28
"""The largest file that is read at once."""

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TO_PASS = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)  # may be entered, if not listed
_CAREFULLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_IsWanted = Callable[["os.DirEntry[str]"], bool]
_KINDS = {
    stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


_folder_mode = PRIVATE_FOLDER


def set_mode(mode: int) -> None:
    """Make folders with this mode in this process from now on, and files as far as it goes."""
    global _folder_mode
    _folder_mode = mode
    os.umask(0o777 & ~mode)


def file_mode() -> int:
    """Return the mode of the files that are made: that of folders, without executing."""
    return _folder_mode & 0o666


class NotRegular(OSError):
    """Something else is in the place of a regular file or a folder; says what."""


class LargeFile(OSError):
    """A file is larger than any of a run's."""


def resolved(folder: str | os.PathLike[str]) -> Path:
    """Return a directory's path without the links that its user has chosen."""
    return Path(os.path.realpath(folder))


def refuse_to_make_top_folder(folder: Path) -> None:
    """Raise FileNotFoundError where a folder at the root of the file system would have to be made.

    A command that runs as root could, and a path with a slash too many would litter the machine.
    """
    top = Path(*folder.absolute().parts[:2])
    if not top.exists():
        raise FileNotFoundError(
            f"{top} is not there, and no folder is made at the root of the file system; "
            "make it first"
        )


@contextmanager
def opened_folder(path: Path, *, create: bool = False) -> Iterator[int]:
    """Give the descriptor of a folder, for calls that take a `dir_fd`.

    Raises `NotRegular` where a part of the path is a link, other OSErrors where it is not there.
    """
    descriptor = os.open(path.anchor or ".", _TO_PASS)
    try:
        for part in path.parts[bool(path.anchor) :]:
            inner = _enter(part, descriptor, path, create)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(part: str, outer: int, path: Path, create: bool) -> int:
    try:
        return os.open(part, _TO_PASS, dir_fd=outer)
    except FileNotFoundError:
        if not create:
            raise FileNotFoundError(2, os.strerror(2), str(path)) from None
    except OSError as error:
        found = os.stat(part, dir_fd=outer, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise
        raise _not_regular(path, found, part) from error
    try:
        create_folder_in(outer, part)
    except FileExistsError:
        pass  # another process has made it meanwhile
    return os.open(part, _TO_PASS, dir_fd=outer)


def open_file(path: Path, flags: int) -> int:
    """Return the descriptor of a regular file, opened or created. Raises OSError, `NotRegular`."""
    with opened_folder(path.parent) as folder:
        require_regular(path, folder)  # first: opening a device can do something
        descriptor = os.open(path.name, flags | _CAREFULLY, file_mode(), dir_fd=folder)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _not_regular(path, found)
    return descriptor


def create(path: Path) -> IO[bytes]:
    """Create a file to write, and its folder if need be. Raises OSError, also if it is there."""
    with opened_folder(path.parent, create=True) as folder:
        return create_in(folder, path.name)


def create_in(folder: int, name: str) -> IO[bytes]:
    """Create a file to write in the folder of this descriptor. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CAREFULLY
    return open(os.open(name, flags, file_mode(), dir_fd=folder), "wb")


def create_folder_in(folder: int, name: str) -> None:
    """Create a folder in the folder of this descriptor. Raises OSError, also if it is there."""
    os.mkdir(name, _folder_mode & 0o777, dir_fd=folder)


def require_regular(path: Path, folder: int) -> None:
    """Raise `NotRegular` if there is anything but a regular file in this place of a folder."""
    try:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise _not_regular(path, found)


def open_to_read(path: Path) -> IO[bytes]:
    """Open a regular file. Raises OSError, `NotRegular`."""
    return open(open_file(path, os.O_RDONLY), "rb")


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return a regular file's content. Raises OSError, also for one of more than `most` bytes."""
    with open_to_read(path) as file:
        content = file.read(most + 1) if os.fstat(file.fileno()).st_size <= most else None
    if content is None or len(content) > most:
        raise LargeFile(f"{path} is larger than {most:,} bytes")
    return content


def exists(path: Path) -> bool:
    """Return whether there is such a regular file."""
    return path.name in files_in(path.parent, path.name)


def files_in(folder: Path, *names: str) -> dict[str, os.stat_result]:
    """Return the regular files in a folder, or those of these names; none if it is no folder."""
    try:
        with opened_folder(folder) as descriptor:
            found = {
                name: status
                for name in names or _listed(descriptor, _is_file)
                if (status := _status(name, descriptor)) is not None
            }
    except OSError:
        return {}
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder; none if it is no folder itself."""
    return _names_in(folder, _is_folder)


def strangers_in(folder: Path) -> list[str]:
    """Return the names of what is neither file nor folder, such as links; none if no folder."""
    return _names_in(folder, lambda entry: not _is_file(entry) and not _is_folder(entry))


class Listing(NamedTuple):
    """The names of what is in a folder, but for folders."""

    files: list[str]
    strangers: list[str]
    """What is neither file nor folder."""


def listed_folders(folder: Path) -> Iterator[tuple[str, Listing]]:
    """Yield the names of the folders in a folder, with what is in each; no file is looked at."""
    with contextlib.suppress(OSError), opened_folder(folder) as outer:
        for name in _listed(outer, _is_folder):
            with contextlib.suppress(OSError):
                yield name, _listing(name, outer)


def measured_folders(folder: Path) -> Iterator[tuple[str, dict[str, os.stat_result]]]:
    """Yield the names of the folders in a folder, with the regular files in each.

    As `files_in` for each of them, without following the path from the root every time.
    """
    with contextlib.suppress(OSError), opened_folder(folder) as outer:
        for name in _listed(outer, _is_folder):
            with contextlib.suppress(OSError):
                yield name, _measured(name, outer)


def statuses_of(folder: Path, *names: str) -> dict[str, os.stat_result]:
    """Return the status of those that there are, whatever they are; "." is the folder itself."""
    with contextlib.suppress(OSError), opened_folder(folder) as outer:
        found = {name: _status(name, outer) for name in names}
        return {name: status for name, status in found.items() if status is not None}
    return {}


def statuses_in(folder: Path, most: int) -> dict[str, os.stat_result]:
    """Return the status of files and folders in a folder, of at most so many entries.

    None if it is no folder. Nothing is looked into, and what is neither is left out.
    """
    found = {}
    with (
        contextlib.suppress(OSError),
        opened_folder(folder) as outer,
        _entries(".", outer) as entries,
    ):
        for entry in islice(entries, most):
            if _is_file(entry) or _is_folder(entry):
                with contextlib.suppress(OSError):  # it was removed a moment ago
                    found[entry.name] = entry.stat(follow_symlinks=False)
    return found


def remove(path: Path) -> None:
    """Remove a file. Raises OSError."""
    with opened_folder(path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)


def remove_if_empty(path: Path) -> None:
    """Remove a folder. Raises OSError, also where something is in it."""
    with opened_folder(path.parent) as folder:
        os.rmdir(path.name, dir_fd=folder)


def _names_in(folder: Path, is_wanted: _IsWanted) -> list[str]:
    try:
        with opened_folder(folder) as descriptor:
            return _listed(descriptor, is_wanted)
    except OSError:
        return []


def _listed(folder: int, is_wanted: _IsWanted) -> list[str]:
    with _entries(".", folder) as entries:
        return [entry.name for entry in entries if is_wanted(entry)]


@contextmanager
def _entries(name: str, outer: int) -> Iterator[Iterator["os.DirEntry[str]"]]:
    """Give what is in a folder inside the one of this descriptor. Raises OSError."""
    listable = os.open(name, os.O_RDONLY | _FOLDER, dir_fd=outer)
    try:
        with os.scandir(listable) as entries:
            yield entries
    finally:
        os.close(listable)


def _listing(name: str, outer: int) -> Listing:
    found = Listing([], [])
    with _entries(name, outer) as entries:
        for entry in entries:
            if _is_file(entry):
                found.files.append(entry.name)
            elif not _is_folder(entry):
                found.strangers.append(entry.name)
    return found


def _measured(name: str, outer: int) -> dict[str, os.stat_result]:
    found = {}
    with _entries(name, outer) as entries:
        for entry in filter(_is_file, entries):
            with contextlib.suppress(OSError):  # it was removed a moment ago
                found[entry.name] = entry.stat(follow_symlinks=False)
    return found


def _is_file(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _not_regular(path: Path, found: os.stat_result, part: str = "") -> NotRegular:
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "a file")
    if part:
        return NotRegular(f"{path}: {part!r} in it is {kind}, and is not entered")
    return NotRegular(f"{path} is {kind}, which is no file of a run's: it is left as it is")
