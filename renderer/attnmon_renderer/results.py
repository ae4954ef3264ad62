"""What a worker makes of one capture, on its way to the recorder.

Too large for a message, so it travels as the descriptor of a nameless file: a worker that dies
after handing it over takes nothing with it.
"""

import os
from dataclasses import dataclass, field
from typing import Any

import msgpack

from attnmon_renderer import files


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as it is on disk, for TensorBoard."""

    tag: str
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class Results:
    """A capture's statistics in the form of `statistics.json`, its scalars and its pictures."""

    folder: str
    document: dict[str, Any]
    scalars: dict[str, float] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)


def hand_over(results: Results) -> int:
    """A descriptor from which `take` reads the same results."""
    images = [(image.tag, image.width, image.height, image.png) for image in results.images]
    content = (results.folder, results.document, results.scalars, images)
    return files.anonymous(lambda file: msgpack.pack(content, file))


def take(descriptor: int) -> Results:
    """Read results and close the descriptor."""
    with os.fdopen(descriptor, "rb") as file:
        folder, document, scalars, images = msgpack.unpackb(file.read())
    return Results(folder, document, scalars, [Image(*image) for image in images])
