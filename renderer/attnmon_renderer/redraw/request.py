"""What to draw again and how, and what became of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from attnmon.link.messages import RenderOptions
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

    @property
    def options(self) -> RenderOptions:
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
    """What one task has written, and what it could not."""

    pictures: tuple[Path, ...] = ()
    errors: tuple[str, ...] = ()
