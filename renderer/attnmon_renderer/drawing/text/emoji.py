"""Emoji in colours, drawn by Pillow: matplotlib cannot draw fonts of pictures."""

from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attnmon_renderer.drawing.text.font_files import FontFile

if TYPE_CHECKING:
    from PIL import ImageFont

_STRIKES = (109, 160, 136, 128, 96, 72, 64, 48, 40, 32, 20)
"""Pixel sizes that fonts of pictures come in. Pillow opens such a font in no other size."""

BELOW_BASELINE = 0.14
"""How far a picture reaches below the baseline, in font sizes."""

Picture = NDArray[np.uint8]
"""[rows, columns, 4] red, green, blue and opacity"""


def can_draw(face: FontFile) -> bool:
    """Whether the font's pictures can be drawn; those of version 1 of the COLR table cannot."""
    return picture("\N{GRINNING FACE}", face) is not None


@lru_cache(maxsize=256)
def picture(cluster: str, face: FontFile) -> Picture | None:
    """Return the emoji as large as the font has it, cropped to its ink; None if it has none."""
    from PIL import Image, ImageDraw  # only those who have emoji need it

    font = _open(face)
    if font is None:
        return None
    width, height = int(font.getlength(cluster)) + 2, int(1.5 * font.size)
    image = Image.new("RGBA", (max(1, width), height), (255, 255, 255, 0))
    ImageDraw.Draw(image).text((0, 0), cluster, font=font, embedded_color=True)
    box = image.getchannel("A").getbbox()
    return None if box is None else np.asarray(image.crop(box))


@cache
def _open(face: FontFile) -> "ImageFont.FreeTypeFont | None":
    from PIL import ImageFont

    for size in _STRIKES:
        try:
            return ImageFont.truetype(face.path, size, face.index)
        except OSError:
            continue
    return None


def picture_width(cluster: str, face: FontFile, font_size: int) -> int:
    """Return the pixels that the picture takes in a line, without the gap behind it."""
    found = picture(cluster, face)
    return 0 if found is None else round(font_size * found.shape[1] / found.shape[0])


@lru_cache(maxsize=512)
def resized(cluster: str, face: FontFile, font_size: int) -> Picture | None:
    """Return the picture as high as the font, for a raster image."""
    from PIL import Image

    found = picture(cluster, face)
    if found is None:
        return None
    size = (max(1, picture_width(cluster, face, font_size)), font_size)
    return np.asarray(Image.fromarray(found).resize(size, Image.Resampling.LANCZOS))
