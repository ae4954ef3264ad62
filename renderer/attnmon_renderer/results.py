"""What a worker makes of one capture, on its way to the recorder.

Too large for a message, so it travels as the descriptor of a nameless file: a worker that dies
after handing it over takes nothing with it.
"""

import os
from dataclasses import astuple, dataclass, field
from typing import Any

import msgpack
import numpy as np

from attnmon_renderer.drawing.spec.figure_data import Axis, Caption, HeatmapData
from attnmon_renderer.storage import atomic_files


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture as it is on disk, for TensorBoard."""

    tag: str
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class AnimationFrame:
    """A map that will be one frame of an animation; arrays as bytes, to travel."""

    stem: str
    caption: tuple[str, str, str]
    """Title, run, note."""
    queries: tuple[int, int]
    """Positions, and positions in one cell; likewise for the keys."""
    keys: tuple[int, int]
    cells_are_sums: bool
    """As of the keys' `Axis`."""
    values: bytes
    masked: bytes
    top: float | None

    @classmethod
    def from_heatmap(cls, stem: str, data: HeatmapData) -> "AnimationFrame":
        caption = data.caption
        return cls(
            stem,
            (caption.title, caption.run, caption.note),
            (data.queries.length, data.queries.positions_per_cell),
            (data.keys.length, data.keys.positions_per_cell),
            data.keys.cells_are_sums,
            data.values.astype("<f4").tobytes(),
            data.masked.tobytes(),
            data.top,
        )

    def heatmap(self) -> HeatmapData:
        queries, keys = Axis(*self.queries), Axis(*self.keys, cells_are_sums=self.cells_are_sums)
        shape = (queries.cells, keys.cells)
        values = np.frombuffer(self.values, "<f4").reshape(shape)
        masked = np.frombuffer(self.masked, np.bool_).reshape(shape)
        return HeatmapData(Caption(*self.caption), values, masked, queries, keys, self.top)


@dataclass(frozen=True, slots=True)
class Results:
    """A capture's statistics in the form of `statistics.json`, its scalars and its pictures."""

    folder: str
    document: dict[str, Any]
    scalars: dict[str, float] = field(default_factory=dict)
    images: list[RenderedImage] = field(default_factory=list)
    frames: list[AnimationFrame] = field(default_factory=list)


def write_to_descriptor(results: Results) -> int:
    """A descriptor from which `take` reads the same results."""
    images = [astuple(image) for image in results.images]
    frames = [astuple(frame) for frame in results.frames]
    content = (results.folder, results.document, results.scalars, images, frames)
    return atomic_files.anonymous_file(lambda file: msgpack.pack(content, file))


def read_from_descriptor(descriptor: int) -> Results:
    """Read results and close the descriptor.

    All its copies have one position, and a recorder that was killed may have read already.
    """
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        folder, document, scalars, images, frames = msgpack.unpackb(file.read())
    images = [RenderedImage(*image) for image in images]
    return Results(folder, document, scalars, images, [AnimationFrame(*frame) for frame in frames])
