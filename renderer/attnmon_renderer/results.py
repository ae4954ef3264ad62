"""The results of one capture, on their way from the worker to the recorder.

They are too large for a message, so they travel as the descriptor of a nameless file, which
outlives the worker that wrote it.
"""

import os
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from attnmon.link import descriptors
from attnmon.link.messages import SeenIn
from attnmon.link.records.attention_record import AttentionType, Stack
from attnmon_renderer.analysis.layer_statistics import LayerStatistics

if TYPE_CHECKING:  # it loads matplotlib, which the recorder can do without until it draws
    from attnmon_renderer.drawing import HeatmapData


@dataclass(frozen=True, slots=True)
class RenderedImage:
    """A picture as a small PNG file, for TensorBoard."""

    tag: str
    width: int
    height: int
    png: bytes


@dataclass(frozen=True, slots=True)
class AnimationFrame:
    """A map for one frame of an animation, in a form that can be sent: arrays are bytes."""

    stem: str
    caption: tuple[str, str, str]
    """Title, run, note."""
    queries: tuple[int, int]
    """Positions in all, and positions in one cell; likewise for the keys."""
    keys: tuple[int, int]
    earlier: int
    """As in the keys' `Axis`; likewise the next."""
    cells_are_sums: bool
    values: bytes
    masked: bytes
    top: float | None

    @classmethod
    def from_heatmap(cls, stem: str, data: "HeatmapData") -> "AnimationFrame":
        caption = data.caption
        return cls(
            stem,
            (caption.title, caption.run, caption.note),
            (data.queries.length, data.queries.positions_per_cell),
            (data.keys.length, data.keys.positions_per_cell),
            data.keys.earlier,
            data.keys.cells_are_sums,
            data.values.astype("<f4").tobytes(),
            data.masked.tobytes(),
            data.top,
        )

    def heatmap(self) -> "HeatmapData":
        from attnmon_renderer.drawing import Axis, Caption, HeatmapData

        queries = Axis(*self.queries)
        keys = Axis(*self.keys, earlier=self.earlier, cells_are_sums=self.cells_are_sums)
        shape = (queries.cells, keys.cells)
        values = np.frombuffer(self.values, "<f4").reshape(shape)
        masked = np.frombuffer(self.masked, np.bool_).reshape(shape)
        return HeatmapData(Caption(*self.caption), values, masked, queries, keys, self.top)


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The statistics of one layer, and what identifies the layer."""

    stack: Stack
    layer: int
    type: AttentionType
    statistics: LayerStatistics
    shape: tuple[int, int, int]
    """(heads, queries, keys)"""
    name: str
    """The module's name in the model."""
    source: str
    """The call that the attention was captured from."""
    heads: tuple[int, ...]
    """Indices, in the model's numbering, of the heads captured."""
    note: str = ""
    """What the map is instead of the whole, exact one; empty if it is that."""
    error: float | None = None
    """Relative error of the recomputed layer output, where measured."""
    predicts: bool = False
    """Whether its positions are tokens of which each is to predict the next: a decoder's."""


@dataclass(frozen=True, slots=True)
class Results:
    """All that a worker computed and drew for one capture."""

    folder: str
    """Name of the capture's folder in the run's directory."""
    step: int
    timestamp: float
    """When the capture was made, in seconds since 1970."""
    epoch: int | None = None
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    sample: int = 0
    """Index of the captured sample in its batch."""
    seen_in: SeenIn = "probe"
    dump_reason: str = ""
    """Why a retained capture was drawn after all; empty for one that was due."""
    rank: int | None = None
    """The training process's rank; None when it trains alone."""
    layers: list[LayerResult] = field(default_factory=list)
    scalars: dict[str, float] = field(default_factory=dict)
    """TensorBoard tag → value."""
    images: list[RenderedImage] = field(default_factory=list)
    frames: list[AnimationFrame] = field(default_factory=list)

    @property
    def retained(self) -> bool:
        """Whether the capture was retained first and drawn later, by a dump."""
        return bool(self.dump_reason)


def write_to_descriptor(results: Results) -> int:
    """Return a descriptor from which `read_from_descriptor` reads the same results.

    Raises OSError when there is no memory or no descriptor for them.
    """
    content = {
        **_fields(results),
        "layers": [
            {**_fields(layer), "statistics": _fields(layer.statistics)} for layer in results.layers
        ],
        "images": [_fields(image) for image in results.images],
        "frames": [_fields(frame) for frame in results.frames],
    }
    return descriptors.make_nameless_file(lambda file: msgpack.pack(content, file))


def _fields(record: Any) -> dict[str, Any]:
    """Return a record's fields by name; `asdict` would copy all that is in them."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def read_from_descriptor(descriptor: int) -> Results:
    """Read results and close the descriptor.

    All copies of a descriptor share one position, and a recorder that was killed may have read
    already; so reading starts at the beginning.
    """
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        content = msgpack.unpackb(file.read(), use_list=False)
    content["layers"] = [_read_layer(layer) for layer in content["layers"]]
    content["images"] = [RenderedImage(**image) for image in content["images"]]
    content["frames"] = [AnimationFrame(**frame) for frame in content["frames"]]
    return Results(**content)


def _read_layer(content: dict[str, Any]) -> LayerResult:
    statistics = content["statistics"]
    heads = {name: list(values) for name, values in statistics["heads"].items()}
    return LayerResult(
        **{**content, "statistics": LayerStatistics(**{**statistics, "heads": heads})}
    )
