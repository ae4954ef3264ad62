"""The standalone renderer: listens, and forks a supervisor for each training that connects.

It loads the standard library and msgpack only and reads nothing that a training process sends, so
that none of them can stop it, and the forks are cheap. After a first signal it finishes what was
announced, for a bounded time, and ends; a second signal ends it at once.
"""

import selectors
import time
from pathlib import Path
from typing import Protocol

from attnmon._version import __version__
from attnmon.link.rendezvous import RendezvousError
from attnmon_renderer.server.client import ClientSession
from attnmon_renderer.server.listener import BACKLOG, Listener
from attnmon_renderer.server.stop_signals import StopSignals

RETRY_SECONDS = 1.0
"""How long to wait after the system refused a descriptor or a process."""


class Display(Protocol):
    """Shows what the standalone renderer does."""

    def log(self, text: str) -> None:
        """Add a line of text."""

    def show(self, clients: list[ClientSession]) -> None:
        """Show the present state of each connected training process."""


class RendererServer:
    """A renderer for all training processes of one user that attach to it.

    Args:
        allowed_root: write below this directory only; None allows all.
        grace: seconds that may be spent after a signal on what was announced.
    """

    def __init__(
        self, listener: Listener, display: Display, allowed_root: Path | None, grace: float
    ) -> None:
        self._listener = listener
        self._display = display
        self._allowed_root = allowed_root
        self._grace = grace
        self._clients: dict[int, ClientSession] = {}
        self._client_count = 0
        self._stop_count = 0
        self._exhausted = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)

    def run(self) -> bool:
        """Serve until a signal; return whether everything that was announced is finished."""
        with StopSignals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._stop(signals))
            # Not before: whoever reads it may send a signal at once.
            self._display.log(f"attnmon-renderer {__version__} listens at {self._listener.path}")
            while not self._stop_count:
                self._wait(None)
            finished = self._finish()
        self._selector.close()
        return finished

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            key.data()
            self._display.show(list(self._clients.values()))

    # Training processes

    def _accept(self) -> bool:
        """Accept one connection. False when none waits."""
        try:
            connection = self._listener.accept()
            if connection is None:
                return False
            with connection:  # the child has a copy of its own
                number = self._client_count + 1
                self._add_client(ClientSession(number, connection, self._allowed_root))
        except RendezvousError as error:
            self._display.log(f"refused a connection: {error}")
        except OSError as error:
            if not self._exhausted:
                self._display.log(f"no room for another training: {error}")
            self._exhausted = True
            time.sleep(RETRY_SECONDS)  # the connection still waits, so the loop is back at once
        return True

    def _add_client(self, client: ClientSession) -> None:
        self._client_count = client.number
        self._exhausted = False
        self._clients[client.number] = client
        self._selector.register(client.channel, selectors.EVENT_READ, lambda: self._receive(client))

    def _receive(self, client: ClientSession) -> None:
        arriving = client.accepted is None
        goes_on = client.receive_all()
        if arriving and client.accepted is not None:
            pid, folder = client.accepted.trainer_pid, client.accepted.save_dir
            self._display.log(f"{client.number}: process {pid} attached, writes to {folder}")
        if not goes_on:
            self._remove_client(client)

    def _remove_client(self, client: ClientSession) -> None:
        self._selector.unregister(client.channel)
        del self._clients[client.number]
        self._display.log(f"{client.number}: {_describe_end(client, client.reap())}")

    # The end

    def _stop(self, signals: StopSignals) -> None:
        self._stop_count += signals.count()

    def _finish(self) -> bool:
        """Accept no more, and finish what was announced; return whether that succeeded.

        It ends without success after `grace` seconds, or at another signal.
        """
        self._selector.unregister(self._listener)
        for _ in range(BACKLOG):
            if not self._accept():  # a process that waits to connect may have announced captures
                break
        self._listener.close()
        for client in self._clients.values():
            client.stop()
        if self._clients:
            self._display.log(f"stopping; finishing what was announced, {self._grace:g} s at most")
        asked, deadline = self._stop_count, time.monotonic() + self._grace
        while (
            self._clients
            and self._stop_count == asked
            and (left := deadline - time.monotonic()) > 0
        ):
            self._wait(left)
        return not self._kill_remaining()

    def _kill_remaining(self) -> list[ClientSession]:
        abandoned = list(self._clients.values())
        for client in abandoned:
            client.kill()
            self._remove_client(client)
        return abandoned


def _describe_end(client: ClientSession, how: str) -> str:
    if client.refused:
        return f"refused: {client.refused}"
    if client.accepted is None:
        return f"went away before it said what it wants ({how})"
    counts = client.status
    words = f"{counts.state}: {counts.trainer.captured} captured, {counts.rendered} rendered"
    words += f", {counts.trainer.dropped} dropped, {counts.trainer.failed + counts.failed} failed"
    if client.unfinished:
        words += f", {client.unfinished} not finished ({how})"
    return words
