"""A picture that moves: one frame a capture, in one file that grows with the run.

The format is APNG (PNG, third edition, section 11.3.6): every browser plays it, every viewer of PNG
shows its first frame, and a frame is added without drawing the others again. When there are too
many, every second one goes. Pure: from bytes to bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.backends import png
from attnmon_renderer.drawing.backends.png import Png
from attnmon_renderer.drawing.backends.raster import paint
from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.spec.palettes import WHITE

MOST_FRAMES = 120
_MILLISECONDS, _LAST_MILLISECONDS = 250, 2000
"""How long a frame stays, and the last one before all begins again."""


def extended(animation: bytes, page: Page) -> Png:
    """The animation with one more frame; no bytes begin a new one.

    The first frame decides on size and palette: a larger page is cut off, a smaller one padded.
    Raises ValueError when the bytes are not an animation of this module's.
    """
    canvas = paint(page)
    if animation:
        film = _read(animation)
    else:
        film = _Film(page.width, page.height, page.palette.colours.tobytes(), ())
    frames = (*film.frames, png.deflated(_resized(canvas, film.width, film.height)))
    if len(frames) > MOST_FRAMES:
        frames = frames[:-1:2] + frames[-1:]
    return _write(_Film(film.width, film.height, film.palette, frames))


@dataclass(frozen=True, slots=True)
class _Film:
    width: int
    height: int
    palette: bytes
    frames: tuple[bytes, ...]
    """Deflated rows, each as large as the first."""


def _resized(canvas: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if canvas.shape == (height, width):
        return canvas
    frame = np.full((height, width), WHITE, np.uint8)
    part = canvas[:height, :width]
    frame[: part.shape[0], : part.shape[1]] = part
    return frame


def _write(film: _Film) -> Png:
    chunks = [
        png.header(film.width, film.height),
        png.chunk(b"acTL", struct.pack(">II", len(film.frames), 0)),
        png.chunk(b"PLTE", film.palette),
    ]
    for number, data in enumerate(film.frames):
        last = number == len(film.frames) - 1
        chunks.append(_control(film, max(0, 2 * number - 1), last))
        if number == 0:
            chunks.append(png.chunk(b"IDAT", data))
        else:
            chunks.append(png.chunk(b"fdAT", struct.pack(">I", 2 * number) + data))
    chunks.append(png.chunk(b"IEND", b""))
    return Png(b"".join((png.SIGNATURE, *chunks)), film.width, film.height)


def _control(film: _Film, sequence: int, last: bool) -> bytes:
    delay = _LAST_MILLISECONDS if last else _MILLISECONDS
    fields = sequence, film.width, film.height, 0, 0, delay, 1000, 0, 0
    return png.chunk(b"fcTL", struct.pack(">IIIIIHHBB", *fields))


def _read(animation: bytes) -> _Film:
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
    return _Film(width, height, palette, tuple(frames))


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
