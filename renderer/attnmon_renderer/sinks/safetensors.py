"""Writes the safetensors format piece by piece.

The library needs all tensors in memory at once, which for long sequences is more than a renderer
should take. It reads what this writes. The format:
https://github.com/huggingface/safetensors#format
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import IO

from attnmon.link.dtypes import DTYPES


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that is still to be written."""

    name: str
    dtype: str
    """As in `attnmon.link.dtypes`: "float32", "bool", …"""
    shape: tuple[int, ...]
    pieces: Iterator[bytes | memoryview]
    """Together all bytes of the tensor, in C order."""

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * DTYPES[self.dtype].itemsize


def write(file: IO[bytes], tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as one file. Raises OSError."""
    header = json.dumps({"__metadata__": dict(metadata), **_index(tensors)}).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for tensor in tensors:
        for piece in tensor.pieces:
            file.write(piece)


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
