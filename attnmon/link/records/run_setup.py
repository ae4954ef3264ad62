"""What the renderer is told of a run before its first capture."""

import math
from dataclasses import dataclass, field
from typing import Literal

from attnmon.link.records.alert import Severity
from attnmon.link.records.schema import require

MOST_CPUS = 1 << 16
MOST_MAP_SIDE = 1024
"""The most cells a side of a map that is stored."""


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What is drawn and written for each capture, and how."""

    pictures: tuple[str, ...]
    """Kinds of pictures, such as "heatmap"; an empty tuple draws none."""
    heads: str | tuple[int, ...] = "average"
    """ "average", "all", or the indices of the heads that were chosen."""
    statistics_files: bool = True
    """Write a `statistics.json` for each capture."""
    raw_weights: bool = False
    """Write all weights of each capture, unpooled."""
    tensorboard: bool = True
    statistics_queries: int | None = None
    """The most query rows that statistics without maps are computed from; None is all rows."""
    pooling: Literal["mass", "max"] = "mass"
    image_format: Literal["png", "svg", "pdf"] = "png"
    color_top: float | None = None
    """The weight at which every picture's colour scale ends; None chooses a round number for
    each picture."""
    pack: bool = False
    """Write all pictures of a step, and its statistics, as one zip file."""
    maps: Literal["drawn", "all"] | None = None
    """The layers whose maps are stored: those that are drawn, or all; None stores none."""
    maps_side: int = 128
    """The most cells a side of a map that is stored."""

    def __post_init__(self) -> None:
        require(self.color_top is None or self.color_top > 0, "color_top", self.color_top)
        require(0 < self.maps_side <= MOST_MAP_SIDE, "maps_side", self.maps_side)


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """A rule that judges the captures, by its name, and the settings that were given to it."""

    name: str
    settings: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Notification:
    """Whom to tell of alerts. The address is a secret: it is not to be written or shown."""

    address: str = field(default="", repr=False)
    """Empty where nobody is to be told."""
    level: Severity = "warn"
    """The least serious alert that is told."""
    pictures: bool = False
    """Whether the picture that an alert names goes along."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How the training was started, for `run.json`."""

    command: tuple[str, ...] = ()
    """The command line, without secrets."""
    directory: str = ""
    """The working directory."""
    config: str = ""
    """The user's configuration as JSON, without secrets; empty where none was given."""
    probe: str | None = None
    """Fingerprint of the user's probe batch; "" where it has none, None where there is no batch."""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Which part of a model that is split over processes this one holds: (index, size) each."""

    pipeline: tuple[int, int]
    tensor: tuple[int, int]

    def __post_init__(self) -> None:
        for at, size in (self.pipeline, self.tensor):
            require(0 <= at < size, "coordinates", (at, size))


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where a run's directory is uploaded to."""

    url: str
    """Of the run itself, such as "s3://bucket/runs/7"."""
    grace: float
    """Seconds that the upload goes on after the end of the run, at most."""

    def __post_init__(self) -> None:
        require("://" in self.url, "mirror", self.url)
        require(0 <= self.grace < math.inf, "mirror_grace", self.grace)


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message: describes the run, its ring and its options to the renderer."""

    save_dir: str
    options: RenderOptions
    ring_bytes: int
    slot_bytes: int
    trainer_pid: int
    workers: int = 1
    """The most drawing processes at a time."""
    rank: int = 0
    world_size: int = 1
    """Training processes in the job; 1 when this process trains alone."""
    versions: tuple[tuple[str, str], ...] = ()
    """(package, version) of the training process."""
    keep_last: int = 0
    """The user's `keep_last`: how many undrawn steps to retain. 0 retains none."""
    disk_budget: int | None = None
    """The most bytes that the run's directory may hold; None sets no limit."""
    cpus: tuple[int, ...] = ()
    """Processors that the renderer may run on; an empty tuple allows all."""
    started: float = 0.0
    """When the monitor was created, in seconds since 1970."""
    ring_kind: str = ""
    """What memory the ring is: "shared memory", "memory file" or "file"."""
    turn: int = 1
    """With which number the renderer waits for its turn in the directory: see `directory_lock`."""
    launch: Launch = Launch()
    may_hold_run: bool = False
    """Whether the directory may hold an earlier run, which this training goes on with or not."""
    model_place: ModelPlace | None = None
    """Of a process that is watched with the others of its replica; None for any other."""
    mirror: Mirror | None = None
    """Where the run's directory is uploaded to; None is nowhere."""
    alerts: tuple[ChosenRule, ...] = ()
    """The rules that judge the captures."""
    notification: Notification = Notification()
    mode: int = 0o700
    """Of the folders that the renderer makes; of files, without the right to execute."""

    def __post_init__(self) -> None:
        require(self.turn >= 1, "turn", self.turn)
        require(self.mode & ~0o2075 == 0o700, "mode", self.mode)
        require(self.disk_budget is None or self.disk_budget > 0, "disk_budget", self.disk_budget)
        require(self.workers >= 1, "workers", self.workers)
        require(all(0 <= cpu < MOST_CPUS for cpu in self.cpus), "cpus", self.cpus)
        require(0 <= self.rank < self.world_size, "rank", (self.rank, self.world_size))
        require(0 < self.slot_bytes <= self.ring_bytes, "slot_bytes", self.slot_bytes)
