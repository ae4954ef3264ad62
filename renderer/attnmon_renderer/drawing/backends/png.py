"""PNG files (W3C, third edition), written quickly.

One byte a pixel and the lowest level of compression; a higher one takes up to four times as long
for nine tenths of the bytes. Rows are told by how they differ from the row above, which is nothing
within a row of cells: a quarter fewer bytes in less time.
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
_NO_FILTER, _UP = 0, 2
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Png:
    """A PNG file in memory."""

    data: bytes
    width: int
    """Pixels."""
    height: int
    """Pixels."""


class PixelMemory:
    """Memory for the rows of one picture at a time.

    New memory for each picture costs more than most of what is drawn on it.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def rows(self, rows: int, columns: int) -> Indices:
        """Return [rows, columns]; it overwrites what was returned before."""
        size = rows * columns
        if size > self._memory.size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].reshape(rows, columns)


_canvas, _scanlines = PixelMemory(), PixelMemory()


def render_png(page: Page, *, differences: bool = True) -> Png:
    """Draw the page as a PNG. Not for several threads at a time.

    Args:
        differences: tell rows by how they differ from the row above. Where cells are few pixels
            high, as on a card, it takes more bytes than the rows as they are.
    """
    if any(area.pixels is not None for area in page.maps):
        return _true_colour(colours(page, rasterize(page)))
    canvas = rasterize(page, _canvas.rows(page.height, page.width))
    return _png(canvas, page.palette.colours, _UP if differences else _NO_FILTER)


def encode(canvas: Indices, palette: NDArray[np.uint8]) -> Png:
    """Return a PNG of [rows, columns] palette indices; the palette is [256, 3] RGB."""
    return _png(canvas, palette, _UP)


def _true_colour(pixels: Pixels) -> Png:
    """Return a PNG of three bytes a pixel, for what no palette holds."""
    rows, columns, _ = pixels.shape
    chunks = (
        header(columns, rows, _RGB),
        chunk(b"IDAT", deflate(pixels.reshape(rows, 3 * columns))),
        chunk(b"IEND", b""),
    )
    return Png(b"".join((SIGNATURE, *chunks)), columns, rows)


def _png(canvas: Indices, palette: NDArray[np.uint8], row_filter: int) -> Png:
    rows, columns = canvas.shape
    chunks = (
        header(columns, rows),
        chunk(b"PLTE", palette.tobytes()),
        chunk(b"IDAT", deflate(canvas, row_filter)),
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


def deflate(canvas: Indices, row_filter: int = _UP) -> bytes:
    """Return the rows of a canvas compressed, as the data chunks hold them."""
    rows, columns = canvas.shape
    scanlines = _scanlines.rows(rows, columns + 1)
    scanlines[:, 0] = row_filter
    if row_filter == _UP:
        scanlines[0, 1:] = canvas[0]  # above the first row there are zeros
        np.subtract(canvas[1:], canvas[:-1], out=scanlines[1:, 1:])
    else:
        scanlines[:, 1:] = canvas
    return zlib.compress(scanlines.data, _LEVEL)
