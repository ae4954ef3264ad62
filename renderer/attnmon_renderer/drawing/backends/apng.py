"""Animations with one frame a capture, in a file that grows with the run.

The format is APNG (PNG, third edition, section 11.3.6): every browser plays it, every viewer of PNG
shows its first frame, and a frame is appended without drawing the others again. When there are too
many frames, every second one is removed. The functions do no I/O.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from attnmon_renderer.drawing.backends import png
from attnmon_renderer.drawing.backends.png import Png
from attnmon_renderer.drawing.backends.raster import rasterize
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.palettes import WHITE, Indices

MAX_FRAMES = 120
"""The most frames of an animation."""
MOST_PIXELS = 1 << 26
"""The largest frame that is believed of a file; a picture has a few million pixels."""
_MILLISECONDS, _LAST_MILLISECONDS = 250, 2000
"""How long a frame is shown, and how long the last one before the animation repeats."""


def append_frame(animation: bytes, page: Page) -> Png:
    """Return the animation with the page as one more frame; empty bytes begin a new animation.

    The first frame sets size and palette: a larger page is cut off, a smaller one padded with
    white. Raises ValueError if the bytes are not a complete animation.
    """
    canvas = rasterize(page)
    if animation:
        movie = _read(animation)
    else:
        movie = _Animation(page.width, page.height, page.palette.colours.tobytes(), ())
    frames = (*movie.frames, png.deflate(_resized(canvas, movie.width, movie.height)))
    if len(frames) > MAX_FRAMES:
        frames = frames[:-1:2] + frames[-1:]
    return _write(_Animation(movie.width, movie.height, movie.palette, frames))


@dataclass(frozen=True, slots=True)
class _Animation:
    width: int
    height: int
    palette: bytes
    frames: tuple[bytes, ...]
    """Compressed rows of each frame; all have the same size in pixels."""


def _resized(canvas: Indices, width: int, height: int) -> Indices:
    if canvas.shape == (height, width):
        return canvas
    frame = np.full((height, width), WHITE, np.uint8)
    part = canvas[:height, :width]
    frame[: part.shape[0], : part.shape[1]] = part
    return frame


def _write(movie: _Animation) -> Png:
    chunks = [
        png.header(movie.width, movie.height),
        png.chunk(b"acTL", struct.pack(">II", len(movie.frames), 0)),
        png.chunk(b"PLTE", movie.palette),
    ]
    for number, data in enumerate(movie.frames):
        last = number == len(movie.frames) - 1
        chunks.append(_control(movie, max(0, 2 * number - 1), last))
        if number == 0:
            chunks.append(png.chunk(b"IDAT", data))
        else:
            chunks.append(png.chunk(b"fdAT", struct.pack(">I", 2 * number) + data))
    chunks.append(png.chunk(b"IEND", b""))
    return Png(b"".join((png.SIGNATURE, *chunks)), movie.width, movie.height)


def _control(movie: _Animation, sequence: int, last: bool) -> bytes:
    delay = _LAST_MILLISECONDS if last else _MILLISECONDS
    fields = sequence, movie.width, movie.height, 0, 0, delay, 1000, 0, 0
    return png.chunk(b"fcTL", struct.pack(">IIIIIHHBB", *fields))


def _read(animation: bytes) -> _Animation:
    width = height = 0
    palette, frames = b"", []
    for kind, data in _chunks(animation):
        if kind == b"IHDR":
            width, height = struct.unpack(">II", data[:8])
        elif kind == b"PLTE":
            palette = data
        elif kind == b"IDAT":
            frames.append(data)
        elif kind == b"fdAT":
            frames.append(data[4:])
    if not (width and height and palette and frames):
        raise ValueError("an animation without size, palette or frames: begin a new one")
    if width * height > MOST_PIXELS:
        raise ValueError(f"an animation of {width} x {height} pixels: begin a new one")
    return _Animation(width, height, palette, tuple(frames))


def _chunks(animation: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not animation.startswith(png.SIGNATURE):
        raise ValueError("not a PNG: begin a new animation")
    at = len(png.SIGNATURE)
    while at < len(animation):
        length = int.from_bytes(animation[at : at + 4], "big")
        kind, data = animation[at + 4 : at + 8], animation[at + 8 : at + 8 + length]
        check = animation[at + 8 + length : at + 12 + length]
        if int.from_bytes(check, "big") != png.checksum(kind, data):
            raise ValueError("the animation is damaged or not complete: begin a new one")
        yield kind, data
        at += 12 + length
