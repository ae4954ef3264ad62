"""Reads the maps of a capture from its `maps.safetensors`, a layer or a head at a time."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from attnmon_renderer.analysis.arrays import Booleans, Floats
from attnmon_renderer.maps import codes as codes_of_weights
from attnmon_renderer.maps.codes import Codes
from attnmon_renderer.maps.maps_bytes import MapsBytes, open_bytes
from attnmon_renderer.maps.maps_header import BadMaps, read_header
from attnmon_renderer.maps.maps_metadata import LayerMaps, MapsMetadata, Span

MEAN: Literal["mean"] = "mean"
MOST_THUMBS_BYTES = 1 << 25
"""Of all layers together: a file may say that many of them are in the same place."""
_NUMPY = {"U8": "u1", "F16": "<f2", "F32": "<f4", "U32": "<u4"}


class MapCodes(NamedTuple):
    """One map: the mean over all heads has a scale of its own."""

    codes: Codes
    """[rows, columns]"""
    scale: float

    def weights(self) -> Floats:
        """Return the weights, [rows, columns]."""
        return codes_of_weights.decode(self.codes, self.scale)


class MapsFile:
    """An open file of maps. Heads are named by their numbers in the model, or "mean".

    Its methods raise KeyError for a layer or a head that is not in it, and BadMaps where what they
    read is damaged. Several threads may read at a time.
    """

    def __init__(self, path: Path, content: MapsBytes) -> None:
        self.path = path
        self._content = content

    @cached_property
    def metadata(self) -> MapsMetadata:
        """What the file says of the capture and its layers."""
        return read_header(self._content)

    def codes(self, stem: str, head: int | Literal["mean"]) -> MapCodes:
        """Return the map of a head, or the mean over those that were recorded."""
        if head == MEAN:
            return self._mean(stem)
        layer = self._layer(stem)
        if head not in layer.heads:
            raise KeyError(f"{stem} has no head {head}")
        return self._head(layer, layer.heads.index(head), self.scale(stem))

    def all_codes(self, stem: str) -> Codes:
        """Return the codes of all heads, [heads, rows, columns]."""
        return self._read(self._layer(stem), "")

    def weights(self, stem: str) -> Floats:
        """Return the weights of all heads, [heads, rows, columns]."""
        return codes_of_weights.decode(self.all_codes(stem), self.scale(stem)[:, None, None])

    def thumbs(self, stem: str) -> Codes:
        """Return the small maps of all heads, [heads, ≤ 32, ≤ 32]: codes pooled by maximum."""
        return self._read(self._layer(stem), ".thumbs")

    def all_thumbs(self) -> bytes:
        """Return the small maps of all layers, one after the other in the order of the layers."""
        layers = self.metadata.layers
        if sum(layer.spans[".thumbs"].nbytes for layer in layers.values()) > MOST_THUMBS_BYTES:
            raise BadMaps(f"{self.path}: there are more small maps than can be sent")
        return b"".join(self.thumbs(stem).tobytes() for stem in layers)

    def scale(self, stem: str) -> Floats:
        """Return the largest weight of each head, [heads]."""
        scale: Floats = self._read(self._layer(stem), ".scale")
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            raise BadMaps(f"{self.path}: {stem}.scale has values that are no weights")
        return scale

    def allowed(self, stem: str) -> Booleans | None:
        """Return where a query may attend to a key, broadcastable to [heads, rows, columns].

        None where no mask forbids more than causality does.
        """
        found = self._read_if_there(stem, ".allowed")
        return None if found is None else found.astype(np.bool_)

    def received(self, stem: str) -> Floats | None:
        """Return the mean weight that the keys of a cell get, [heads, columns]; None if missing."""
        found = self._read_if_there(stem, ".received")
        return None if found is None else found.astype(np.float32)

    def strongest(self, stem: str) -> npt.NDArray[np.uint32] | None:
        """Return the position of the key that each row weighs most, [heads, rows]."""
        return self._read_if_there(stem, ".strongest")

    def close(self) -> None:
        """Close the file."""
        os.close(self._content.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _layer(self, stem: str) -> LayerMaps:
        return self.metadata.layers[stem]

    def _mean(self, stem: str) -> MapCodes:
        """Return the mean, a head at a time: all of them may be much memory."""
        layer, scale = self._layer(stem), self.scale(stem)
        total = np.zeros((1, layer.rows, layer.columns), np.float32)
        for index in layer.recorded:
            total[0] += self._head(layer, index, scale).weights() / len(layer.recorded)
        codes, scales = codes_of_weights.encode(total)
        return MapCodes(codes[0], float(scales[0]))

    def _head(self, layer: LayerMaps, index: int, scale: Floats) -> MapCodes:
        span, cells = layer.spans[""], layer.rows * layer.columns
        with self._told():
            found = self._content.read(span.offset + index * cells, cells)
        codes = np.frombuffer(found, np.uint8).reshape(layer.rows, layer.columns)
        return MapCodes(codes, float(scale[index]))

    def _read_if_there(self, stem: str, suffix: str) -> npt.NDArray[Any] | None:
        layer = self._layer(stem)
        return self._read(layer, suffix) if suffix in layer.spans else None

    def _read(self, layer: LayerMaps, suffix: str) -> npt.NDArray[Any]:
        span: Span = layer.spans[suffix]
        with self._told():
            found = self._content.read(span.offset, span.nbytes)
        return np.frombuffer(found, _NUMPY[span.dtype]).reshape(span.shape)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError) as error:
            raise BadMaps(f"{self.path}: {error}") from error


def open_maps(path: Path) -> MapsFile:
    """Open `step_100/maps.safetensors`, or that member of `step_100.zip` where there is no folder.

    No more than its header is read.

    Raises:
        FileNotFoundError: the capture has no maps.
        OSError: something else is in their place, such as a link.
        BadMaps: the file is damaged, or is something else.
    """
    try:
        file = MapsFile(path, open_bytes(path))
    except zipfile.BadZipFile as error:
        raise BadMaps(f"{path}: {error}") from error
    try:
        file.metadata  # noqa: B018  # reads the header
    except BadMaps as error:
        file.close()
        raise BadMaps(f"{path}: {error}") from error
    return file
