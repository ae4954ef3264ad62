"""The state of every capture in the renderer: tables only, no process and no I/O.

      worker lost or starved            recorder lost
           ┌────────────┐              ┌────────────┐
           ▼            │              ▼            │
    ──▶ WAITING ─────▶ DRAWING ─────▶ DRAWN ─────▶ RECORDING ─────▶ acknowledged
           │            │              ▲
           └────────────┴── failed ────┘   refused, or lost too often: DRAWN with an error

Captures are drawn in any order, and recorded in the order in which they were announced.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

from attnmon.link.records.alert import Alert

MOST_TRIES = 2
"""How often a capture is drawn, or recorded, when the process at it dies each time."""
MOST_DRAWN_AHEAD = 64
"""Captures that may be drawn or wait to be recorded; their results wait as open files in memory."""


class State(Enum):
    WAITING = auto()
    DRAWING = auto()
    DRAWN = auto()
    RECORDING = auto()


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.WAITING, "draw"): State.DRAWING,
    (State.WAITING, "fail"): State.DRAWN,
    (State.DRAWING, "drawn"): State.DRAWN,
    (State.DRAWING, "retry"): State.WAITING,
    (State.DRAWING, "fail"): State.DRAWN,
    (State.DRAWN, "record"): State.RECORDING,
    (State.RECORDING, "retry"): State.DRAWN,
}


@dataclass(slots=True)
class Entry:
    """One capture on its way through the renderer."""

    sequence: int
    packed: bytes
    """The encoded `Capture` as it came."""
    state: State = State.WAITING
    weight_count: int = 0
    """Attention weights in it, which the work is proportional to."""
    timestamp: float = 0.0
    """When it was captured, in seconds since 1970."""
    seconds: float = 0.0
    """Processor time that it has taken so far, beyond what the start of a process takes."""
    draw_tries: int = 0
    record_tries: int = 0
    error: str = ""
    """What went wrong so far; empty when nothing did."""
    notices: tuple[tuple[str, str], ...] = ()
    """(kind, text) of what the user should be told."""
    verdicts: tuple[tuple[str, str], ...] = ()
    """As in `Acknowledgement`."""
    alerts: tuple[Alert, ...] = ()
    """The alerts that it has changed."""
    descriptor: int = -1
    """File with the worker's results, to be handed to the recorder; -1 when there is none."""
    holds_message: bool = False
    """Whether that file holds `packed` instead, to be saved, because its workers died."""

    def transition(self, event: str) -> None:
        """Follow `TRANSITIONS`. Raises ValueError, and changes nothing, if they lack the event."""
        if (self.state, event) not in TRANSITIONS:
            raise ValueError(f"capture {self.sequence}: no {event!r} from {self.state.name}")
        self.state = TRANSITIONS[self.state, event]


class Ledger:
    """All captures that are announced and not yet settled, in order of arrival."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self.rendered = 0
        """Captures settled without an error."""
        self.failed = 0
        """Captures settled with an error."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(
        self, sequence: int, packed: bytes, weight_count: int = 0, timestamp: float = 0.0
    ) -> Entry:
        """Add an announced capture. Raises ValueError if its sequence number is there already."""
        if sequence in self._entries:
            raise ValueError(f"capture {sequence} was announced twice")
        entry = self._entries[sequence] = Entry(
            sequence, packed, weight_count=weight_count, timestamp=timestamp
        )
        return entry

    def __getitem__(self, sequence: int) -> Entry:
        return self._entries[sequence]

    def __contains__(self, sequence: object) -> bool:
        return sequence in self._entries

    def next_to_draw(self) -> Entry | None:
        """Return the oldest waiting capture; None when there is none, or recording lags behind."""
        oldest = islice(self, MOST_DRAWN_AHEAD)
        return next((entry for entry in oldest if entry.state is State.WAITING), None)

    def next_to_record(self) -> Entry | None:
        """Return the oldest capture if it is drawn: recording keeps the order of the steps."""
        oldest = next(iter(self), None)
        return oldest if oldest is not None and oldest.state is State.DRAWN else None

    def start_drawing(self, entry: Entry) -> None:
        entry.transition("draw")
        entry.draw_tries += 1

    def start_recording(self, entry: Entry) -> None:
        entry.transition("record")
        entry.record_tries += 1

    def take_back(self, entry: Entry) -> None:
        """Have another worker draw a capture; this was no try."""
        entry.transition("retry")
        entry.draw_tries -= 1

    def retry_or_fail(self, entry: Entry, reason: str) -> None:
        """Have a capture drawn again whose worker is lost, or give it up after `MOST_TRIES`."""
        if entry.draw_tries >= MOST_TRIES:
            self.fail(entry, f"{reason}, {entry.draw_tries} times")
        else:
            entry.transition("retry")

    def fail(self, entry: Entry, error: str) -> None:
        """Give up drawing a capture. The recorder is still to account for it."""
        entry.transition("fail")
        entry.error = error

    def settle(self, entry: Entry, error: str) -> None:
        """Count a capture as rendered or failed, and remove it."""
        entry.error = entry.error or error
        if entry.error:
            self.failed += 1
        else:
            self.rendered += 1
        del self._entries[entry.sequence]
