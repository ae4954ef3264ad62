"""Pictures as text that stands in a document."""

import base64
import io
from zipfile import BadZipFile

from PIL import Image

from attnmon_renderer.report.gather import SUFFIXES, Picture

_LEVEL = 6
"""Of zlib: 8 to 15 ms a picture, for 0.6 to 0.85 of the bytes that drawing, in haste, has left."""


def data_uris(pictures: dict[str, Picture]) -> dict[str, str]:
    """By name, each picture with the same pixels; those that are damaged or gone are left out."""
    found = {}
    for name, picture in pictures.items():
        try:
            content = picture.read()
            content = content if picture.suffix == ".svg" else _smaller(content)
        except (OSError, ValueError, SyntaxError, BadZipFile):  # SyntaxError is Pillow's
            continue
        encoded = base64.b64encode(content).decode()
        found[name] = f"data:{SUFFIXES[picture.suffix]};base64,{encoded}"
    return found


def _smaller(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["png"]) as image:
        image.save(buffer, "png", compress_level=_LEVEL)
    return buffer.getvalue()
