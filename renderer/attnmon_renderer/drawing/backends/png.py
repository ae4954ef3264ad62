"""PNG files (W3C, third edition), written quickly.

One byte a pixel, no row filter and the lowest level of compression, which finds by itself that
rows of equal cells repeat. A higher level takes up to four times as long for nine tenths of the
bytes.
"""

import struct
from dataclasses import dataclass

try:
    from isal import isal_zlib as zlib  # as many bytes in a quarter of the time
except ImportError:  # not made for every kind of processor
    import zlib  # type: ignore[no-redef]

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.backends.raster import rasterize
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.palettes import Indices

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _INDEXED = 8, 3
_NO_FILTER = 0
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Png:
    """A PNG file in memory."""

    data: bytes
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def render_png(page: Page) -> Png:
    """Draw the page as a PNG."""
    return encode(rasterize(page), page.palette.colours)


def encode(canvas: Indices, palette: NDArray[np.uint8]) -> Png:
    """Return a PNG of [rows, columns] palette indices; the palette is [256, 3] RGB."""
    rows, columns = canvas.shape
    chunks = (
        header(columns, rows),
        chunk(b"PLTE", palette.tobytes()),
        chunk(b"IDAT", deflate(canvas)),
        chunk(b"IEND", b""),
    )
    return Png(b"".join((SIGNATURE, *chunks)), columns, rows)


def header(width: int, height: int) -> bytes:
    """Return the first chunk, IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _BITS, _INDEXED, 0, 0, 0))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk: length, kind, data, checksum."""
    length, check = struct.pack(">I", len(data)), struct.pack(">I", checksum(kind, data))
    return b"".join((length, kind, data, check))


def checksum(kind: bytes, data: bytes) -> int:
    """Return a chunk's checksum: the CRC-32 of its kind and its data."""
    return zlib.crc32(data, zlib.crc32(kind))


def deflate(canvas: Indices) -> bytes:
    """Return the rows of a canvas compressed, as the data chunks hold them."""
    rows, columns = canvas.shape
    scanlines = np.empty((rows, columns + 1), np.uint8)
    scanlines[:, 0] = _NO_FILTER
    scanlines[:, 1:] = canvas
    return zlib.compress(scanlines.data, _LEVEL)
