"""What the training process counts, and what it has told its user."""

from dataclasses import dataclass
from typing import Any

from attnmon.link.records.schema import require

LONGEST_ERROR = 500
"""The most characters of an error in `Accounts`, which travel with every message; of a remark."""
MOST_REMARKS = 20
"""The most warnings in `Remarks`, and the most lines about what is not seen."""


@dataclass(slots=True)
class Accounts:
    """What the training process has counted so far. Rides on every message it sends.

    Not frozen: the training process counts in a subclass of it, and sends copies.
    """

    captured: int = 0
    """Captures that were due and looked at, whatever became of them."""
    dropped: int = 0
    """Captures for which there was no room in the ring."""
    failed: int = 0
    """Captures that failed before they were announced; the renderer adds its own."""
    error: str = ""
    """The latest of these failures, in words."""
    hook_seconds: float = 0.0
    """Time spent inside attnmon's calls, in the training process."""
    steps: int = 0
    """Calls of `log_attention`, due or not."""
    last_step: int | None = None
    interval: int = 0
    """Steps from one due step to the next at present."""
    stretched: int = 0
    """How often the interval was made longer, to keep to `max_overhead`."""
    overhead: float = 0.0
    """The share of training time that due captures took since the first one."""
    backlog: int = 0
    """Captures announced before and not drawn yet."""
    retained_seconds: float = 0.0
    """The part of `hook_seconds` that `keep_last` took."""
    not_retained: int = 0
    """Steps that `keep_last` could not retain."""
    competed_seconds: float = 0.0
    """Processor time that the renderer has taken from the training, where no core was free."""

    def __post_init__(self) -> None:
        require(len(self.error) <= LONGEST_ERROR, "error", self.error)

    def figures(self, rendered: int, failed_in_renderer: int) -> dict[str, Any]:
        """Return the figures that `close()` and `summary.json` show, by their public names.

        The arguments are what the renderer has counted: captures drawn, and those that failed
        after they were announced.
        """
        return {
            "captured": self.captured,
            "rendered": rendered,
            "dropped": self.dropped,
            "failed": self.failed + failed_in_renderer,
            "hook_seconds": self.hook_seconds,
            "competed_seconds": self.competed_seconds,
            "overhead": self.overhead,
            "interval": self.interval,
            "stretched": self.stretched,
            "steps": self.steps,
            "last_step": self.last_step,
        }


@dataclass(frozen=True, slots=True)
class Remarks:
    """What the training process has told its user so far; sent when there is more."""

    off: str = ""
    """Why the monitor is off; empty while it is on."""
    not_seen: tuple[str, ...] = ()
    """A line for each module whose attention is not captured although it seems to attend."""
    warnings: tuple[str, ...] = ()
    """The first warnings, one of each kind."""

    def __post_init__(self) -> None:
        require(len(self.not_seen) <= MOST_REMARKS, "not_seen", len(self.not_seen))
        require(len(self.warnings) <= MOST_REMARKS, "warnings", len(self.warnings))
        for text in (self.off, *self.not_seen, *self.warnings):
            require(len(text) <= LONGEST_ERROR, "remark", text)

    def figures(self) -> dict[str, Any]:
        """Return what `close()` and `summary.json` show, by its public names."""
        return {
            "off": self.off or None,
            "not_seen": list(self.not_seen),
            "warnings": list(self.warnings),
        }


NO_REMARKS = Remarks()
