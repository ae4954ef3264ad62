"""Makes the socket that the server listens at: a port of the machine, or one in the file system."""

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PORT = 6061
OTHER_PORTS = 20
"""How many ports after the usual one are tried."""
OWN_USER_ONLY = 0o177
"""Mask of the permissions of a socket in the file system."""


def listen_at_port(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens at a port, or at the next free one after 6061 if it is None.

    Raises OSError where the port that was asked for is in use, or the host is not this machine.
    """
    wanted = range(PORT, PORT + OTHER_PORTS) if port is None else (port,)
    for each in wanted:
        try:
            return _listen(host, each)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or each == wanted[-1]:
                raise
    raise AssertionError("no port was tried")


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.create_server(address[:2], family=family)
    # What it accepts inherits this. Else the body of an answer waits 40 ms for the client to
    # acknowledge the headers: asyncio sets it only where a socket was made for TCP by name.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listening


@contextmanager
def listening_at_path(path: Path) -> Iterator[socket.socket]:
    """Give a socket in the file system that only this user can connect to, and remove it after.

    A socket that nobody listens at any more is replaced; anything else in its place is not.
    Raises OSError.
    """
    _remove_if_abandoned(path)
    with _bound_to(path) as listening:
        try:
            yield listening
        finally:
            with suppress(OSError):
                path.unlink()


def _bound_to(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    others = os.umask(OWN_USER_ONLY)
    try:
        listening.bind(os.fspath(path))
        listening.listen()
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(others)
    return listening


def _remove_if_abandoned(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
