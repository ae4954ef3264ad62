"""The standalone renderer: opens a door, and forks a supervisor for each training that comes in.

It loads the standard library and msgpack only and reads nothing that a training process sends, so
that none of them can stop it, and the forks are cheap. Two signals end it: after the first it
finishes what was announced, for a bounded time; after the second it does not.
"""

import selectors
import time
from pathlib import Path
from typing import Protocol

from attnmon.link.rendezvous import RendezvousError
from attnmon_renderer.server.client import ClientSession
from attnmon_renderer.server.listener import BACKLOG, Listener
from attnmon_renderer.server.stop_signals import StopSignals

REST_SECONDS = 1.0
"""After the system refused a descriptor or a process."""


class Display(Protocol):
    """Where the renderer says what happens."""

    def log(self, text: str) -> None: ...

    def show(self, guests: list[ClientSession]) -> None: ...


class RendererServer:
    """A renderer for all trainings of one user that attach to it."""

    def __init__(self, door: Listener, display: Display, below: Path | None, grace: float) -> None:
        self._door = door
        self._display = display
        self._below = below
        self._grace = grace
        self._guests: dict[int, ClientSession] = {}
        self._arrivals = 0
        self._stops = 0
        self._full = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(door, selectors.EVENT_READ, self._let_in)

    def run(self) -> bool:
        """Until it is told to stop. Whether everything that was announced is finished."""
        with StopSignals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, lambda: self._stop(signals))
            while not self._stops:
                self._wait(None)
            finished = self._finish()
        self._selector.close()
        return finished

    def _wait(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            key.data()
            self._display.show(list(self._guests.values()))

    # Training processes

    def _let_in(self) -> bool:
        """One that has knocked; False when there is none."""
        try:
            connection = self._door.accept()
            if connection is None:
                return False
            with connection:  # the copy that counts is the child's
                self._serve(ClientSession(self._arrivals + 1, connection, self._below))
        except RendezvousError as error:
            self._display.log(f"refused a connection: {error}")
        except OSError as error:
            if not self._full:
                self._display.log(f"no room for another training: {error}")
            self._full = True
            time.sleep(REST_SECONDS)  # or it would try again at once, without end
        return True

    def _serve(self, guest: ClientSession) -> None:
        self._arrivals = guest.number
        self._full = False
        self._guests[guest.number] = guest
        self._selector.register(guest.channel, selectors.EVENT_READ, lambda: self._hear(guest))

    def _hear(self, guest: ClientSession) -> None:
        arriving = guest.serving is None
        goes_on = guest.hear()
        if arriving and guest.serving is not None:
            pid, folder = guest.serving.trainer_pid, guest.serving.save_dir
            self._display.log(f"{guest.number}: process {pid} attached, writes to {folder}")
        if not goes_on:
            self._say_farewell(guest)

    def _say_farewell(self, guest: ClientSession) -> None:
        self._selector.unregister(guest.channel)
        del self._guests[guest.number]
        self._display.log(f"{guest.number}: {_ending(guest, guest.bury())}")

    # The end

    def _stop(self, signals: StopSignals) -> None:
        self._stops += signals.count()

    def _finish(self) -> bool:
        """Whether all is finished within the time of grace, and before another signal."""
        self._selector.unregister(self._door)
        for _ in range(BACKLOG):
            if not self._let_in():  # who has knocked may have announced something, too
                break
        self._door.close()
        for guest in self._guests.values():
            guest.stop()
        if self._guests:
            self._display.log(f"stopping; finishing what was announced, {self._grace:g} s at most")
        asked, deadline = self._stops, time.monotonic() + self._grace
        while self._guests and self._stops == asked and (left := deadline - time.monotonic()) > 0:
            self._wait(left)
        return not self._abandon()

    def _abandon(self) -> list[ClientSession]:
        abandoned = list(self._guests.values())
        for guest in abandoned:
            guest.kill()
            self._say_farewell(guest)
        return abandoned


def _ending(guest: ClientSession, how: str) -> str:
    if guest.refused:
        return f"refused: {guest.refused}"
    if guest.serving is None:
        return f"went away before it said what it wants ({how})"
    counts = guest.standing
    words = f"{counts.state}: {counts.trainer.captured} captured, {counts.rendered} rendered"
    words += f", {counts.trainer.dropped} dropped, {counts.trainer.failed + counts.failed} failed"
    if guest.unfinished:
        words += f", {guest.unfinished} not finished ({how})"
    return words
