"""What to draw again and how, and what became of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnmon.link.messages import Setup
from attnmon_renderer.redraw.capture_selection import Heads, Layers


@dataclass(frozen=True)
class RedrawRequest:
    """What to draw, and how."""

    out: Path
    kinds: tuple[str, ...] = ("heatmap",)
    layers: Layers = None
    heads: Heads = None
    image_format: Literal["png", "svg", "pdf"] = "png"
    pooling: Literal["mass", "max"] = "mass"
    top: float | None = None
    """The weight that the colours of all pictures end at; None is a round number for each."""

    def setup(self) -> Setup:
        """The same, in the form in which a monitor says it."""
        return Setup(
            save_dir=str(self.out),
            pictures=self.kinds,
            statistics_files=False,
            heads="all",
            raw_weights=False,
            tensorboard=False,
            workers=1,
            statistics_queries=None,
            pooling=self.pooling,
            image_format=self.image_format,
            ring_bytes=1,
            slot_bytes=1,
            trainer_pid=0,
            rank=0,
            world_size=1,
            versions=(),
            color_top=self.top,
        )


@dataclass(frozen=True)
class JobResult:
    """What one task has written, and what it could not."""

    pictures: tuple[Path, ...] = ()
    errors: tuple[str, ...] = ()
