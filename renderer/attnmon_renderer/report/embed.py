"""Encodes pictures as data URIs, for an HTML document."""

import base64
import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from PIL import Image

from attnmon_renderer.report.stored_pictures import MIME_TYPES, StoredPicture

_LEVEL = 6
"""zlib level: 8 to 15 ms a picture, for 0.6 to 0.85 of the bytes of the quickly drawn file."""


MOST_PIXELS = 1 << 26
"""Of a picture that is decoded; ours have a few million, and take four bytes for each."""
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!DOCTYPE svg|svg)[\s>]")


def data_uris(pictures: Mapping[str, StoredPicture], damages: list[str]) -> dict[str, str]:
    """Returns each picture by name, with the same pixels.

    One that is damaged, missing or no picture is left out, and told in `damages`.
    """
    uris = {}
    for name, picture in pictures.items():
        try:
            content = picture.read()
            content = _checked_svg(content) if picture.suffix == ".svg" else _recompress(content)
        except Exception as error:  # the decoder raises whatever its parts do
            where = f"{picture.path}, {picture.member}" if picture.member else str(picture.path)
            damages.append(f"{where} is left out: {error or type(error).__name__}")
            continue
        encoded = base64.b64encode(content).decode()
        uris[name] = f"data:{MIME_TYPES[picture.suffix]};base64,{encoded}"
    return uris


def _checked_svg(content: bytes) -> bytes:
    """Returns an SVG as it is. Raises ValueError for anything else under its name."""
    if not _SVG.match(content):
        raise ValueError("it is no SVG")
    return content


@contextmanager
def _quietly() -> Iterator[None]:
    # Pillow warns of a picture that is a little too large, and raises for one that is much too.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _recompress(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with _quietly(), Image.open(io.BytesIO(png), formats=["png"]) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        image.save(buffer, "png", compress_level=_LEVEL)
    return buffer.getvalue()
