"""The messages between the renderer's own processes, encoded as `link.records.schema` does it.

supervisor → worker      the training process's Capture, byte for byte as it came
worker     → supervisor  Drawn           with a descriptor of the results (see `results`)
probe      → supervisor  LeftOver
supervisor → recorder    BeginRecords
                         WriteResults    with that descriptor, or with one of the Capture
recorder   → supervisor  RecordsBegun, ResultsWritten

supervisor → standalone renderer   TrainerServed  RunStatus …  or TrainerRefused
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from attnmon.link.records.alert import Alert
from attnmon.link.records.schema import Schema
from attnmon.link.records.training_accounts import NO_REMARKS, Accounts, Remarks

LONGEST_ERROR = 1000
"""The most characters of one capture's errors: a message holds those of several captures."""


def join_errors(errors: Sequence[str]) -> str:
    """Join a capture's errors into one text of bounded length."""
    line = "; ".join(errors)
    if len(line) <= LONGEST_ERROR:
        return line
    return f"{line[: LONGEST_ERROR - 40]} … ({len(errors)} errors in all)"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A worker has finished a capture: its pictures are on disk, or `error` says why not."""

    sequence: int
    error: str = ""
    notices: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    """Processor time that the worker has used since its last answer."""
    verdicts: tuple[tuple[str, str], ...] = ()
    """As in `Acknowledgement`."""


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A probe at idle priority has tried how much processor time is left over."""

    share: float
    """Of a core."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """Retained captures were drawn, for a reason."""

    reason: str
    step: int | None
    """The last step that the training process had looked at."""
    count: int
    """Captures drawn."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """How a run stands, for `summary.json`."""

    trainer: Accounts
    """The training process's own counters."""
    rendered: int
    """Captures recorded without an error."""
    failed: int
    """Captures that failed after they were announced."""
    state: str
    """ "running"; "finishing" what was announced; then "closed" in order, "trainer lost", or
    "renderer stopped" by hand; "renderer lost" when its supervisor died."""
    pids: tuple[int, ...]
    """Of the supervisor and its children."""
    errors: tuple[str, ...]
    """The latest, oldest first."""
    retained: int = 0
    """Captures retained undrawn at present; no other count includes them."""
    dumps: tuple[Dumped, ...] = ()
    """The latest, oldest first."""
    remarks: Remarks = NO_REMARKS
    """What the training process has told its user."""
    starved: bool = False
    """Whether no core is free, so that drawing competes with the training."""
    lag: float = 0.0
    """Seconds from the latest capture that is drawn to its being drawn."""
    newest_picture: float | None = None
    """When the newest picture was drawn, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class BeginRecords:
    """Tells the recorder of which step the first capture is, where an earlier run may be.

    Nothing of the capture is written before the answer. A training that starts anew in a used
    directory is another run: what is there is moved aside.
    """

    step: int


@dataclass(frozen=True, slots=True)
class RecordsBegun:
    """The directory is ready for this run's captures, or `error` says what could not be moved."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class WriteResults:
    """Asks the recorder to write a capture's results and the status, or the status alone."""

    status: RunStatus
    sequence: int | None = None
    """The capture's; None for the status alone."""
    error: str = ""
    """What failed when the capture was drawn."""
    dead_writers: tuple[int, ...] = ()
    """Process ids of writers that died, whose temporary files are to be removed."""
    save_capture: bool = False
    """Whether every worker died of the capture: the descriptor holds its message, to be saved."""


@dataclass(frozen=True, slots=True)
class ResultsWritten:
    """A capture is on disk in all its parts, or `error` says what is missing."""

    sequence: int
    error: str = ""
    disk_is_full: bool = False
    """Whether the disk budget has no room for pictures, so that no more are to be drawn."""
    notices: tuple[tuple[str, str], ...] = ()
    alerts: tuple[Alert, ...] = ()
    """The alerts that it has changed."""
    seconds: float = 0.0
    """Processor time that the recorder has used since its last answer."""


@dataclass(frozen=True, slots=True)
class TrainerServed:
    """A training process was accepted."""

    trainer_pid: int
    save_dir: str


@dataclass(frozen=True, slots=True)
class TrainerRefused:
    """A training process was refused."""

    reason: str


ProcessMessage = (
    Drawn
    | LeftOver
    | BeginRecords
    | RecordsBegun
    | WriteResults
    | ResultsWritten
    | RunStatus
    | TrainerServed
    | TrainerRefused
)

_SCHEMA: Schema[ProcessMessage] = Schema(2, get_args(ProcessMessage))
encode = _SCHEMA.encode
decode = _SCHEMA.decode
