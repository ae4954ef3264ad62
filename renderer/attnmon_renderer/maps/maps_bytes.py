"""The bytes of a `maps.safetensors`: a file of a step's folder, or a member of the step's zip."""

import os
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

from attnmon_renderer.storage import packed_step, paths, regular_files

_MEMBER = struct.Struct("<4s5H3L2H")
"""What stands before the name of a member: its signature, and last the lengths of name and more."""


class MapsBytes(NamedTuple):
    """A part of an open file. It is read by position, so several threads may share it."""

    descriptor: int
    start: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return that many bytes. Raises EOFError if there are less."""
        found = b""
        if 0 <= offset <= offset + count <= self.size:
            found = os.pread(self.descriptor, count, self.start + offset)
        if len(found) != count:
            raise EOFError(f"it ends before byte {offset + count:,}")
        return found


def open_bytes(path: Path) -> MapsBytes:
    """Open a file, or where there is none the member of that name of its folder's zip file.

    Raises:
        OSError: there is neither, or it is no regular file.
        zipfile.BadZipFile: the zip file is damaged, or none that attnmon wrote.
    """
    try:
        descriptor = regular_files.open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        pack = path.parent.with_name(path.parent.name + paths.PACKED)
        if not regular_files.exists(pack):
            raise
        return _open_member(pack, path.name)
    return MapsBytes(descriptor, 0, os.fstat(descriptor).st_size)


def _open_member(pack: Path, name: str) -> MapsBytes:
    found = next((each for each in packed_step.members(pack) if each.filename == name), None)
    if found is None:
        raise FileNotFoundError(2, f"no {name} in it", str(pack))
    if found.compress_type != zipfile.ZIP_STORED or found.flag_bits & 1:
        raise zipfile.BadZipFile(f"{name} is compressed, which attnmon does not do")
    descriptor = regular_files.open_file(pack, os.O_RDONLY)
    try:
        return _part(found, MapsBytes(descriptor, 0, os.fstat(descriptor).st_size))
    except BaseException:
        os.close(descriptor)
        raise


def _part(member: zipfile.ZipInfo, pack: MapsBytes) -> MapsBytes:
    """Return where in the zip file a member's content is."""
    try:
        before = pack.read(member.header_offset, _MEMBER.size)
        lengths = _MEMBER.unpack(before)[-2:]
        start = member.header_offset + _MEMBER.size + sum(lengths)
        pack.read(start + member.file_size, 0)
    except EOFError as error:
        raise zipfile.BadZipFile(f"{member.filename}: {error}") from error
    if not before.startswith(b"PK\x03\x04"):
        raise zipfile.BadZipFile(f"{member.filename} is not where the list says")
    return MapsBytes(pack.descriptor, start, member.file_size)
