"""Pixels to PNG bytes, quickly: rows that repeat the row above cost next to nothing.

PNG (W3C, third edition) filters each row before deflating it. A row that repeats the one above is
all zeros under filter 2 ("up"); longer runs of such rows are compressed once and kept.
"""

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.pictures import Png

_LEVEL = 1
"""Of zlib. Level 6 takes four times as long for nine tenths of the bytes."""
_WORTH_A_FLUSH = 4
"""Equal rows from which on a kept run is quicker than letting zlib find them."""
_UP = 2
_INDEXED = 3


def encode(canvas: NDArray[np.uint8], palette: NDArray[np.uint8]) -> Png:
    """A PNG of `canvas`, [rows, columns] of indices in `palette`, [256, 3] in RGB."""
    rows, columns = canvas.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, _INDEXED, 0, 0, 0)
    data = b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", _zlib_stream(canvas)),
            _chunk(b"IEND", b""),
        )
    )
    return Png(data, columns, rows)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))


def _zlib_stream(rows: NDArray[np.uint8]) -> bytes:
    """Filtered rows in a zlib stream (RFC 1950) put together from pieces."""
    filtered, repeats = _filtered(rows)
    row_bytes = filtered.shape[1]
    data = filtered.data.cast("B")
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    pieces = [b"\x78\x01"]
    start = 0
    for first, last in _long_runs(repeats):
        pieces.append(deflate.compress(data[start * row_bytes : first * row_bytes]))
        pieces.append(deflate.flush(zlib.Z_FULL_FLUSH))
        pieces.append(_deflated_repeats(last - first, row_bytes))
        start = last
    pieces += deflate.compress(data[start * row_bytes :]), deflate.flush()
    pieces.append(struct.pack(">I", zlib.adler32(data)))
    return b"".join(pieces)


def _filtered(rows: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    repeats = np.zeros(len(rows), np.bool_)
    words = rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows
    repeats[1:] = (words[1:] == words[:-1]).all(axis=1)
    filtered = np.zeros((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[~repeats, 1:] = rows[~repeats]
    filtered[repeats, 0] = _UP
    return filtered, repeats


def _long_runs(repeats: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(repeats, prepend=False, append=False)).reshape(-1, 2)
    return [(int(a), int(b)) for a, b in edges if b - a >= _WORTH_A_FLUSH]


@lru_cache(maxsize=512)
def _deflated_repeats(count: int, row_bytes: int) -> bytes:
    """`count` rows that repeat the row above, deflated on their own up to a byte's end."""
    row = bytes([_UP]) + bytes(row_bytes - 1)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(row * count) + deflate.flush(zlib.Z_FULL_FLUSH)
