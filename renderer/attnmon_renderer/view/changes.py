"""Tells those who look on which runs have changed, by looking at their files now and then."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.view.runs.local_run import LocalRun, RunStamp
from attnmon_renderer.view.runs.run_index import RunIndex

POLL_SECONDS = 0.5
"""How often the runs are looked at that somebody has asked for."""
OTHERS_SECONDS = 5.0
"""How often all others are."""
BEAT_SECONDS = 15.0
"""The longest silence of a stream: a proxy takes a longer one for the end."""
GONE = "gone"
"""The state of a run that was there before."""
RETRY = b"retry: 2000\n\n"
BEAT = b": still here\n\n"

Event = dict[str, Any]


class Subscription:
    """What one client has not been told yet: of each run only its latest state."""

    def __init__(self) -> None:
        self._pending: dict[str, Event] = {}
        self._news = asyncio.Event()

    def put(self, event: Event) -> None:
        """Add an event, in place of an earlier one of the same run."""
        self._pending[event["run"]] = event
        self._news.set()

    def wake(self) -> None:
        """End a `take` that waits."""
        self._news.set()

    async def take(self, seconds: float) -> list[Event]:
        """Return the events there are, as soon as there are any; none after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return []
        self._news.clear()
        pending, self._pending = self._pending, {}
        return list(pending.values())


class Changes:
    """Looks at runs while somebody listens, and only then.

    Args:
        index: The runs.
        watched: The keys of runs that somebody has asked for.
        is_ending: Returns whether the server is about to end, and with it all streams.
    """

    def __init__(
        self, index: RunIndex, watched: set[str], is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        self._index = index
        self._watched = watched
        self._is_ending = is_ending
        self._subscriptions: set[Subscription] = set()
        self._stamps: dict[str, RunStamp] = {}
        self._next_look_at_others = 0.0

    async def poll_forever(self) -> None:
        """Look at runs until it is cancelled; ends the streams before the server does."""
        while not self._is_ending():
            if self._subscriptions:
                for event in await asyncio.to_thread(self.look):
                    for subscription in self._subscriptions:
                        subscription.put(event)
            else:
                self._watched.clear()
            await asyncio.sleep(POLL_SECONDS)
        for subscription in self._subscriptions:
            subscription.wake()

    def look(self) -> list[Event]:
        """Return an event for each run that has changed since it was looked at last."""
        now = time.monotonic()
        runs = self._index.runs()
        if now >= self._next_look_at_others:
            self._next_look_at_others = now + OTHERS_SECONDS
        else:
            runs = {key: runs[key] for key in self._watched & runs.keys()}
        return [event for key, run in runs.items() if (event := self._event(key, run)) is not None]

    def _event(self, key: str, run: LocalRun) -> Event | None:
        stamp = run.stamp()
        if self._stamps.get(key) == stamp:
            return None
        was_there = key in self._stamps
        self._stamps[key] = stamp
        gone = {"run": key, "cursor": 0, "state": GONE} if was_there else None
        return _event_of(key, run) or gone

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield server-sent events: how all runs stand now, and then each change."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield RETRY
            for event in await asyncio.to_thread(self._all):
                subscription.put(event)
            while not self._is_ending():
                events = await subscription.take(BEAT_SECONDS)
                if not self._is_ending():
                    yield b"".join(map(_sent, events)) or BEAT
        finally:
            self._subscriptions.discard(subscription)

    def _all(self) -> list[Event]:
        events = (_event_of(key, run) for key, run in self._index.runs().items())
        return [event for event in events if event is not None]


def _event_of(key: str, run: LocalRun) -> Event | None:
    try:
        return {"run": key, "cursor": run.cursor(), "state": run.read().state}
    except NoRun:
        return None


def _sent(event: Event) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()
