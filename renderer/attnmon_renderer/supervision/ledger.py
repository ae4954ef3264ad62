"""Where each capture stands in the renderer: pure book-keeping, no process and no I/O.

              lost                       lost (recorder)
           ┌────────┐                  ┌────────────────┐
           ▼        │                  ▼                │
    ──▶ WAITING ─▶ DRAWING ─▶ DRAWN ─▶ ·  ─▶ RECORDING ─┘─▶ (acknowledged)
                       └── lost twice ──▶ DRAWN, with an error

Captures are drawn in any order and recorded in the order they came in. One that has taken its
worker down twice is not tried a third time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice

MOST_TRIES = 2
MOST_DRAWN_AHEAD = 64
"""How far drawing may run ahead of recording; what is drawn waits in memory, as open files."""


class State(Enum):
    WAITING = auto()
    DRAWING = auto()
    DRAWN = auto()
    RECORDING = auto()


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.WAITING, "start"): State.DRAWING,
    (State.WAITING, "fail"): State.DRAWN,
    (State.DRAWING, "drawn"): State.DRAWN,
    (State.DRAWING, "lose"): State.WAITING,
    (State.DRAWING, "fail"): State.DRAWN,
    (State.DRAWN, "record"): State.RECORDING,
    (State.RECORDING, "lose"): State.DRAWN,
}


@dataclass(slots=True)
class Entry:
    """One capture on its way through the renderer."""

    sequence: int
    packed: bytes
    """The message as it came, for the worker."""
    state: State = State.WAITING
    weight_count: int = 0
    """How much work it is."""
    tries: int = 0
    recordings: int = 0
    error: str = ""
    notices: tuple[tuple[str, str], ...] = ()
    results: int = -1
    """Descriptor of what the worker made; -1 when there is none."""
    holds_message: bool = False
    """It has taken its workers down, and the descriptor is of the message itself."""

    def move(self, event: str) -> None:
        """Follow the table. Raises ValueError, and changes nothing, for an illegal move."""
        if (self.state, event) not in TRANSITIONS:
            raise ValueError(f"capture {self.sequence}: no {event!r} from {self.state.name}")
        self.state = TRANSITIONS[self.state, event]


class Ledger:
    """All captures that are announced and not yet acknowledged, in order of arrival."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self.rendered = 0
        self.failed = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, sequence: int, packed: bytes, weight_count: int = 0) -> Entry:
        """Raises ValueError for a sequence number that is under way already."""
        if sequence in self._entries:
            raise ValueError(f"capture {sequence} was announced twice")
        entry = self._entries[sequence] = Entry(sequence, packed, weight_count=weight_count)
        return entry

    def __getitem__(self, sequence: int) -> Entry:
        return self._entries[sequence]

    def __contains__(self, sequence: object) -> bool:
        return sequence in self._entries

    def next_to_draw(self) -> Entry | None:
        oldest = islice(self, MOST_DRAWN_AHEAD)
        return next((entry for entry in oldest if entry.state is State.WAITING), None)

    def next_to_record(self) -> Entry | None:
        """The oldest capture, once it is drawn: recording keeps the order of the steps."""
        oldest = next(iter(self), None)
        return oldest if oldest is not None and oldest.state is State.DRAWN else None

    def start(self, entry: Entry) -> None:
        entry.move("start")
        entry.tries += 1

    def record(self, entry: Entry) -> None:
        entry.move("record")
        entry.recordings += 1

    def lose(self, entry: Entry, reason: str) -> None:
        """The worker at it is gone: draw it again, or give it up."""
        if entry.tries >= MOST_TRIES:
            self.fail(entry, f"{reason}, {entry.tries} times")
        else:
            entry.move("lose")

    def fail(self, entry: Entry, error: str) -> None:
        entry.move("fail")
        entry.error = error

    def settle(self, entry: Entry, error: str) -> None:
        """Recorded: count it and let it go."""
        entry.error = entry.error or error
        if entry.error:
            self.failed += 1
        else:
            self.rendered += 1
        del self._entries[entry.sequence]
