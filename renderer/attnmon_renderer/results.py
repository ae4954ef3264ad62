"""What a worker makes of one capture, on its way to the recorder.

Too large for a message, so it travels as the descriptor of a nameless file: a worker that dies
after handing it over takes nothing with it.
"""

import os
from dataclasses import astuple, dataclass, field
from typing import Any

import msgpack
import numpy as np

from attnmon_renderer.drawing.spec.figure_data import Axis, Caption, MapPicture
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
    summed: bool
    """As of the keys' `Axis`."""
    values: bytes
    masked: bytes
    top: float | None

    @classmethod
    def of(cls, stem: str, picture: MapPicture) -> "AnimationFrame":
        caption = picture.caption
        return cls(
            stem,
            (caption.title, caption.run, caption.note),
            (picture.queries.length, picture.queries.step),
            (picture.keys.length, picture.keys.step),
            picture.keys.summed,
            picture.values.astype("<f4").tobytes(),
            picture.masked.tobytes(),
            picture.top,
        )

    def picture(self) -> MapPicture:
        queries, keys = Axis(*self.queries), Axis(*self.keys, summed=self.summed)
        shape = (queries.cells, keys.cells)
        values = np.frombuffer(self.values, "<f4").reshape(shape)
        masked = np.frombuffer(self.masked, np.bool_).reshape(shape)
        return MapPicture(Caption(*self.caption), values, masked, queries, keys, self.top)


@dataclass(frozen=True, slots=True)
class Results:
    """A capture's statistics in the form of `statistics.json`, its scalars and its pictures."""

    folder: str
    document: dict[str, Any]
    scalars: dict[str, float] = field(default_factory=dict)
    images: list[RenderedImage] = field(default_factory=list)
    frames: list[AnimationFrame] = field(default_factory=list)


def hand_over(results: Results) -> int:
    """A descriptor from which `take` reads the same results."""
    images = [astuple(image) for image in results.images]
    frames = [astuple(frame) for frame in results.frames]
    content = (results.folder, results.document, results.scalars, images, frames)
    return atomic_files.anonymous(lambda file: msgpack.pack(content, file))


def take(descriptor: int) -> Results:
    """Read results and close the descriptor.

    All its copies have one position, and a recorder that was killed may have read already.
    """
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        folder, document, scalars, images, frames = msgpack.unpackb(file.read())
    images = [RenderedImage(*image) for image in images]
    return Results(folder, document, scalars, images, [AnimationFrame(*frame) for frame in frames])
