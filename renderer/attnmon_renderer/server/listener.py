"""The socket at which a standalone renderer accepts connections: one per folder, for one user.

    renderer.lock   locked as long as the renderer lives, however it ends; never removed
    renderer.sock   removed and created again only by the holder of the lock

A socket file that a killed renderer left behind looks like one in use. The lock tells them apart:
the kernel releases it with the process.
"""

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path

from attnmon.link import rendezvous
from attnmon.link.rendezvous import RendezvousError

LOCK_NAME = "renderer.lock"
BACKLOG = 64
"""The most connections that wait to be accepted."""


class Listener:
    """A listening socket. Raises `RendezvousError` when there can be none, and says why."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / rendezvous.SOCKET_NAME
        rendezvous.require_short(self.path)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        rendezvous.require_private(folder)
        self._lock = _lock(folder / LOCK_NAME)
        try:
            self._socket = _listen(self.path)
        except OSError:
            os.close(self._lock)
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """Return the next connection; None when there is none after all.

        Raises `RendezvousError` for another user's process, OSError when no descriptor is free.
        """
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        try:
            rendezvous.require_same_user(connection)
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Stop listening, and let the next renderer listen here."""
        if self._lock >= 0:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            self._socket.close()
            os.close(self._lock)
            self._lock = -1


def _lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise RendezvousError(
            f"a renderer (process {holder}) listens in {path.parent} already; trainings can attach "
            "to that one, or give this one another --socket-dir"
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _listen(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise RendezvousError(
                f"{path} is in the way and is no socket; move it or choose another"
            )
        path.unlink()  # its renderer is gone, or we would not hold the lock
    listener = socket.socket(socket.AF_UNIX, rendezvous.KIND)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
