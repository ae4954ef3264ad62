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

from attnmon_renderer.drawing.backends.raster import colours, rasterize
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.palettes import Indices
from attnmon_renderer.drawing.spec.panel import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _RGB, _INDEXED = 8, 2, 3
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


class ScanlineMemory:
    """Memory for the rows of one picture at a time, each behind the byte of its filter.

    New memory for each picture costs more than most of what is drawn on it.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def scanlines(self, rows: int, columns: int) -> Indices:
        """Return [rows, 1 + columns]; it overwrites what was returned before."""
        size = rows * (columns + 1)
        if size > self._memory.size:
            self._memory = np.empty(size, np.uint8)
        found = self._memory[:size].reshape(rows, columns + 1)
        found[:, 0] = _NO_FILTER
        return found


_memory = ScanlineMemory()


def render_png(page: Page) -> Png:
    """Draw the page as a PNG. Not for several threads at a time."""
    if any(area.pixels is not None for area in page.maps):
        return _true_colour(colours(page, rasterize(page)))
    scanlines = _memory.scanlines(page.height, page.width)
    rasterize(page, scanlines[:, 1:])
    return _png(scanlines, page.palette.colours)


def encode(canvas: Indices, palette: NDArray[np.uint8]) -> Png:
    """Return a PNG of [rows, columns] palette indices; the palette is [256, 3] RGB."""
    scanlines = ScanlineMemory().scanlines(*canvas.shape)
    scanlines[:, 1:] = canvas
    return _png(scanlines, palette)


def _true_colour(pixels: Pixels) -> Png:
    """Return a PNG of three bytes a pixel, for what no palette holds."""
    rows, columns, _ = pixels.shape
    scanlines = ScanlineMemory().scanlines(rows, 3 * columns)
    scanlines[:, 1:] = pixels.reshape(rows, -1)
    chunks = (
        header(columns, rows, _RGB),
        chunk(b"IDAT", zlib.compress(scanlines.data, _LEVEL)),
        chunk(b"IEND", b""),
    )
    return Png(b"".join((SIGNATURE, *chunks)), columns, rows)


def _png(scanlines: Indices, palette: NDArray[np.uint8]) -> Png:
    rows, columns = scanlines.shape[0], scanlines.shape[1] - 1
    chunks = (
        header(columns, rows),
        chunk(b"PLTE", palette.tobytes()),
        chunk(b"IDAT", zlib.compress(scanlines.data, _LEVEL)),
        chunk(b"IEND", b""),
    )
    return Png(b"".join((SIGNATURE, *chunks)), columns, rows)


def header(width: int, height: int, colour_type: int = _INDEXED) -> bytes:
    """Return the first chunk, IHDR."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _BITS, colour_type, 0, 0, 0))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk: length, kind, data, checksum."""
    length, check = struct.pack(">I", len(data)), struct.pack(">I", checksum(kind, data))
    return b"".join((length, kind, data, check))


def checksum(kind: bytes, data: bytes) -> int:
    """Return a chunk's checksum: the CRC-32 of its kind and its data."""
    return zlib.crc32(data, zlib.crc32(kind))


def deflate(canvas: Indices) -> bytes:
    """Return the rows of a canvas compressed, as the data chunks hold them."""
    scanlines = ScanlineMemory().scanlines(*canvas.shape)
    scanlines[:, 1:] = canvas
    return zlib.compress(scanlines.data, _LEVEL)
