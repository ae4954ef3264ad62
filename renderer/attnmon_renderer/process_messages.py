"""What the renderer's own processes say to each other, in the form of `attnmon.link.schema`.

supervisor → worker      the training process's Capture, byte for byte as it came
worker     → supervisor  Drawn      with a descriptor of the results (see `results`)
supervisor → recorder    Record     with that descriptor; with one of the Capture, to set it aside
recorder   → supervisor  Recorded

supervisor → standalone renderer   Serving  Standing …  or Refused
"""

from collections.abc import Sequence
from dataclasses import dataclass

from attnmon.link.messages import Accounts
from attnmon.link.schema import Schema

LONGEST_ERROR = 1000
"""Characters of one capture's errors: a message holds those of several."""


def join_errors(errors: Sequence[str]) -> str:
    """All that went wrong with a capture; of a full disk, the beginning says enough."""
    line = "; ".join(errors)
    if len(line) <= LONGEST_ERROR:
        return line
    return f"{line[: LONGEST_ERROR - 40]} … ({len(errors)} errors in all)"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A worker is done with a capture: its pictures are on disk, or `error` says why not."""

    sequence: int
    error: str = ""
    notices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Dumped:
    """Captures that were kept are drawn, for a reason."""

    reason: str
    step: int | None
    """The last one looked at when that happened."""
    count: int


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How the run stands, for `summary.json`."""

    trainer: Accounts
    rendered: int
    failed: int
    state: str
    """ "running"; "finishing" what was announced; then "closed" in order, "trainer lost", or
    "renderer stopped" by hand; "renderer lost" when its supervisor died."""
    pids: tuple[int, ...]
    errors: tuple[str, ...]
    """The latest, oldest first."""
    retained: int = 0
    """Captures kept and not drawn at present; they are in no other count."""
    dumps: tuple[Dumped, ...] = ()
    """The latest, oldest first."""


@dataclass(frozen=True, slots=True)
class WriteResults:
    """Write down a capture's results; without a sequence, only how the run stands."""

    status: RunStatus
    sequence: int | None = None
    error: str = ""
    dead_writers: tuple[int, ...] = ()
    """Process ids of writers that were killed, whose temporary files are to go."""
    save_capture: bool = False
    """No worker has survived it: the descriptor is of the Capture as it came."""


@dataclass(frozen=True, slots=True)
class ResultsWritten:
    """The capture is on disk in all its parts, or `error` says what is missing."""

    sequence: int
    error: str = ""
    disk_is_full: bool = False
    """The disk budget has no room for pictures: no more are to be drawn."""
    notices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainerServed:
    """A training process is taken on."""

    trainer_pid: int
    save_dir: str


@dataclass(frozen=True, slots=True)
class TrainerRefused:
    """A training process is not taken on."""

    reason: str


ProcessMessage = Drawn | WriteResults | ResultsWritten | RunStatus | TrainerServed | TrainerRefused

_SCHEMA: Schema[ProcessMessage] = Schema(
    1, (Drawn, WriteResults, ResultsWritten, RunStatus, TrainerServed, TrainerRefused)
)
encode = _SCHEMA.encode
decode = _SCHEMA.decode
