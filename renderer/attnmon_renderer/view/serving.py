"""Runs the server, from the directories that are to be shown to its end."""

import asyncio
import contextlib
import platform
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnmon_renderer.terminal import harmless
from attnmon_renderer.view.access import (
    EVERYWHERE,
    LOOPBACK,
    Access,
    bracketed,
    cookie_name,
    frame_ancestor,
    host_names,
)
from attnmon_renderer.view.application import make_application
from attnmon_renderer.view.changes import Changes
from attnmon_renderer.view.endpoints import Endpoints
from attnmon_renderer.view.listening import PORT, listen_at_port, listening_at_path
from attnmon_renderer.view.page_files import PageFiles
from attnmon_renderer.view.runs.run_index import RunIndex

SHUTDOWN_SECONDS = 2
"""How long answers under way are waited for."""
KEPT_SECONDS = 60
"""How long a connection is kept on which nothing is asked: a page asks again at each capture."""
TICK_SECONDS = 0.5
"""How often the server asks itself whether it is to end, in place of ten times a second."""


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """What is to be shown, and to whom."""

    folders: Sequence[Path]
    """Without links in their paths."""
    host: str = "127.0.0.1"
    port: int | None = None
    """None for the usual one, or the next that is free."""
    uds: Path | None = None
    """A socket in the file system, instead of a port."""
    allowed_hosts: Sequence[str] = ()
    frame_ancestors: Sequence[str] = ()


def serve(request: ViewRequest, announce: Callable[[str, str], None]) -> None:
    """Answer until SIGINT or SIGTERM.

    Args:
        announce: Takes the address to open, and what is to be said of it, once it can be opened.

    Raises:
        OSError: it cannot listen there.
        ValueError: a host or an origin is none.
    """
    hosts = host_names(request.host, request.allowed_hosts)
    ancestors = tuple(map(frame_ancestor, request.frame_ancestors))
    with _listening(request) as listening:
        port = None if request.uds else int(listening.getsockname()[1])
        access = Access(cookie_name(port), hosts, ancestors)
        announce(*address_of(request, port, access.token))
        _run(RunIndex(request.folders), access, listening)


def _listening(request: ViewRequest) -> contextlib.AbstractContextManager[socket.socket]:
    if request.uds is not None:
        return listening_at_path(request.uds)
    return listen_at_port(request.host, request.port)


def address_of(request: ViewRequest, port: int | None, token: str) -> tuple[str, str]:
    """Return the address to open, and what is to be said of it; `port` is None for a `uds`."""
    if request.uds is not None:
        own_port = request.port or PORT
        tunnel = f"ssh -L {own_port}:{request.uds.absolute()} {platform.node()}"
        return f"http://localhost:{own_port}/?t={token}", f"through {harmless(tunnel)}"
    host = platform.node() if request.host in EVERYWHERE else bracketed(request.host)
    hints = [
        f"port {PORT} is taken" if request.port is None and port != PORT else "",
        "" if bracketed(request.host) in LOOPBACK else "not encrypted: whoever is between can read",
    ]
    return f"http://{host}:{port}/?t={token}", "; ".join(filter(None, hints))


def _run(index: RunIndex, access: Access, listening: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """One that is idle between its ticks, which were most of what it took."""

        async def main_loop(self) -> None:
            while not await self.on_tick(0):
                await asyncio.sleep(TICK_SECONDS)

    endpoints = Endpoints(index, PageFiles())
    changes = Changes(index, endpoints.watched, lambda: server.should_exit)
    config = uvicorn.Config(
        make_application(endpoints, access, changes),
        log_level="error", access_log=False, server_header=False, proxy_headers=False,
        ws="none", http="h11", loop="asyncio", lifespan="on",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS, timeout_keep_alive=KEPT_SECONDS,
    )  # fmt: skip
    server = Server(config)
    # uvicorn ends in its own way at both signals, and then raises them again.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
