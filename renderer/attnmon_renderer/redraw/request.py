"""The request of `attnmon render`, and the result of one of its jobs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.redraw.capture_selection import Heads, Layers


@dataclass(frozen=True)
class RedrawRequest:
    """What to draw from a run's raw weights, and how."""

    out: Path
    """Directory to write to."""
    kinds: tuple[str, ...] = ("heatmap",)
    layers: Layers = None
    heads: Heads = None
    image_format: Literal["png", "svg", "pdf"] = "png"
    pooling: Literal["mass", "max"] = "mass"
    top: float | None = None
    """Weight at which the colours of all pictures end; None: a round number for each."""

    @property
    def options(self) -> RenderOptions:
        """The same as a monitor's options; layers and heads are selected beforehand."""
        return RenderOptions(
            pictures=self.kinds,
            heads="all",
            statistics_files=False,
            tensorboard=False,
            pooling=self.pooling,
            image_format=self.image_format,
            color_top=self.top,
        )


@dataclass(frozen=True)
class JobResult:
    """What one job has drawn and what it could not draw."""

    pictures: tuple[Path, ...] = ()
    """Files written."""
    errors: tuple[str, ...] = ()
    """One line for each failure."""
    notices: tuple[str, ...] = ()
    """What the user should be told of the pictures."""
