"""Reads the zip file of a step, which may be damaged, or made to take all memory.

attnmon's own have neither a comment nor compression, and a short list of members.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from attnmon_renderer.storage import regular_files

MOST_LIST_BYTES = 1 << 20
"""Of the list of members, which is read at once."""
_END = struct.Struct("<4s4H2LH")
_LARGE = b"PK\x06\x07"
_LOCATOR_BYTES = 20


def members(path: Path) -> list[ZipInfo]:
    """Return the members of a zip file. Raises OSError, and BadZipFile for all other faults."""
    with _opened(path) as pack:
        return pack.infolist()


def read_member(path: Path, name: str, most: int) -> bytes:
    """Return a member's content, of at most so many bytes. Raises as `members`."""
    with _opened(path) as pack, pack.open(name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise BadZipFile(f"{name} is larger than {most:,} bytes")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[ZipFile]:
    with regular_files.open_to_read(path) as file:
        try:
            _require_short_list(file)
            with ZipFile(file) as pack:
                yield pack
        except (OSError, BadZipFile):
            raise
        except Exception as error:  # zlib's, struct's, and RuntimeError for an encrypted member
            raise BadZipFile(f"{type(error).__name__}: {error}") from error


def _require_short_list(file: IO[bytes]) -> None:
    """Raise BadZipFile if the list of members is longer than that of any step."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - _LOCATOR_BYTES))
    end = file.read()
    if len(end) < _END.size or end[: -_END.size].startswith(_LARGE):
        raise BadZipFile("not the zip file of a step")
    signature, *_, list_bytes, _, comment = _END.unpack(end[-_END.size :])
    if signature != b"PK\x05\x06" or comment or list_bytes > MOST_LIST_BYTES:
        raise BadZipFile("not the zip file of a step")
    file.seek(0)
