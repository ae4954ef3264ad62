"""The socket at which a training process meets a renderer that was started by hand.

The folder and the socket are private to one user, and each side asks the kernel who the other is
before anything is handed over: the ring holds what the model reads.
"""

import os
import socket
import stat
import struct
import tempfile
from pathlib import Path

SOCKET_NAME = "renderer.sock"
LONGEST_PATH = 100
"""Bytes; the address of a Unix socket has room for 104 on some systems, for 108 on others."""


def _kind_of_socket() -> socket.SocketKind:
    """Return the kind with packets where it exists; macOS defines the constant only."""
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).close()
    except (AttributeError, OSError):
        return socket.SOCK_STREAM
    return socket.SOCK_SEQPACKET


KIND = _kind_of_socket()


class RendezvousError(OSError):
    """The two processes cannot meet at a socket; says why, and what to do."""


def folders() -> list[Path]:
    """Return the folders where this user's renderer may listen.

    The renderer takes the first; a training process tries them all, since a login session and a
    job scheduler's session often have different environments.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    fallback = Path(tempfile.gettempdir(), f"attnmon-{os.geteuid()}")
    usable = os.path.isabs(runtime) and os.path.isdir(runtime)
    return [Path(runtime, "attnmon"), fallback] if usable else [fallback]


def require_short(path: Path) -> None:
    """Raise `RendezvousError` for a path that is too long for a socket's address."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise RendezvousError(
            f"the socket's path {str(path)!r} is longer than {LONGEST_PATH} bytes; "
            "choose a shorter directory"
        )


def require_private(folder: Path) -> None:
    """Raise `RendezvousError` unless only this user may enter the folder."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise RendezvousError(f"{folder} is not a directory, or is a link to one; remove it")
    if found.st_uid != os.geteuid():
        raise RendezvousError(
            f"{folder} belongs to user {found.st_uid}, not to {os.geteuid()}; choose another"
        )
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        raise RendezvousError(
            f"{folder} is open to other users (mode {stat.S_IMODE(found.st_mode):04o}, of which "
            f"{mode:04o} is too much); chmod 700 it, or choose another"
        )


def require_same_user(connection: socket.socket) -> None:
    """Raise `RendezvousError` unless the process at the other end is this user's."""
    user = _user_at_the_other_end(connection)
    if user != os.geteuid():
        raise RendezvousError(
            f"the process at the other end is user {user}'s, and this is user {os.geteuid()}'s; "
            "both must be the same user's"
        )


def connect(path: Path) -> socket.socket:
    """Connect to the renderer that listens there, without waiting for it.

    Raises OSError where nobody listens, and `RendezvousError` where another user does.
    """
    require_short(path)
    connection = socket.socket(socket.AF_UNIX, KIND)
    try:
        connection.setblocking(False)
        connection.connect(str(path))
        require_same_user(connection)
    except OSError:
        connection.close()
        raise
    return connection


def _user_at_the_other_end(connection: socket.socket) -> int:
    if hasattr(socket, "SO_PEERCRED"):  # Linux: struct ucred
        size = struct.calcsize("iII")
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("iII", credentials)[1])
    if hasattr(socket, "LOCAL_PEERCRED"):  # macOS, FreeBSD: struct xucred, at level 0
        credentials = connection.getsockopt(0, socket.LOCAL_PEERCRED, 128)
        return int(struct.unpack_from("II", credentials)[1])
    raise RendezvousError("this system does not tell who is at the other end of a socket")
