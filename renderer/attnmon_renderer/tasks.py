"""What the renderer's own processes say to each other, in the form of `attnmon.link.schema`.

supervisor → worker      the training process's Capture, byte for byte as it came
worker     → supervisor  Drawn      with a descriptor of the results (see `results`)
supervisor → recorder    Record     with that descriptor
recorder   → supervisor  Recorded
"""

from dataclasses import dataclass

from attnmon.link.messages import Accounts
from attnmon.link.schema import Schema


@dataclass(frozen=True, slots=True)
class Drawn:
    """A worker is done with a capture: its pictures are on disk, or `error` says why not."""

    sequence: int
    error: str = ""
    notices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How the run stands, for `summary.json`."""

    trainer: Accounts
    rendered: int
    failed: int
    state: str
    """ "running"; "finishing" what was announced; then "closed" in order, or "trainer lost"."""
    pids: tuple[int, ...]
    errors: tuple[str, ...]
    """The latest, oldest first."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write down a capture's results; without a sequence, only how the run stands."""

    standing: Standing
    sequence: int | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The capture is on disk in all its parts, or `error` says what is missing."""

    sequence: int
    error: str = ""


Task = Drawn | Record | Recorded

_SCHEMA: Schema[Task] = Schema(1, (Drawn, Record, Recorded))
encode = _SCHEMA.encode
decode = _SCHEMA.decode
