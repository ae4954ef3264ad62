"""Writes the safetensors format piece by piece, and finds the tensors in a file.

The library needs all tensors in memory at once, which for long sequences is more than a renderer
should take. It reads what this writes. The format:
https://github.com/huggingface/safetensors#format
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from attnmon.link.records.dtypes import DTYPES
from attnmon.link.records.ring_blocks import ArrayBlock

_LENGTH_BYTES = 8
"""A file starts with the length of its header, little-endian."""
_METADATA = "__metadata__"
_NAMES = {dtype.safetensors: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is still to be written."""

    name: str
    dtype: str
    """As in `attnmon.link.records.dtypes`: "float32", "bool", …"""
    shape: tuple[int, ...]
    pieces: Iterator[bytes | memoryview]
    """Together all bytes of the tensor, in C order."""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def write(file: IO[bytes], tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as one file. Raises OSError."""
    header = json.dumps({_METADATA: dict(metadata), **_index(tensors)}).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(_LENGTH_BYTES, "little") + header)
    for tensor in tensors:
        for piece in tensor.pieces:
            file.write(piece)


def content(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a file of tensors and metadata."""
    file = io.BytesIO()
    write(file, tensors, metadata)
    return file.getvalue()


def _index(tensors: Sequence[Tensor]) -> dict[str, object]:
    spans = pairwise(accumulate((tensor.nbytes for tensor in tensors), initial=0))
    return {
        tensor.name: {
            "dtype": DTYPES[tensor.dtype].safetensors,
            "shape": tensor.shape,
            "data_offsets": span,
        }
        for tensor, span in zip(tensors, spans, strict=True)
    }


def read_index(memory: npt.NDArray[np.uint8]) -> tuple[dict[str, str], dict[str, ArrayBlock]]:
    """Return a file's metadata, and by name where each tensor lies in the file.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: this is no such file, or a part of one.
    """
    start = _LENGTH_BYTES + int.from_bytes(memory[:_LENGTH_BYTES].tobytes(), "little")
    header = json.loads(memory[_LENGTH_BYTES:start].tobytes())
    metadata: dict[str, str] = header.pop(_METADATA)
    return metadata, {name: _block(entry, start) for name, entry in header.items()}


def _block(entry: Mapping[str, Any], start: int) -> ArrayBlock:
    first, _ = entry["data_offsets"]
    return ArrayBlock(start + first, _NAMES[entry["dtype"]], tuple(entry["shape"]))
