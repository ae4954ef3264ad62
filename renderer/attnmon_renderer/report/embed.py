"""Encodes pictures as data URIs, for an HTML document."""

import base64
import io
from zipfile import BadZipFile

from PIL import Image

from attnmon_renderer.report.gather import MIME_TYPES, StoredPicture

_LEVEL = 6
"""zlib level: 8 to 15 ms a picture, for 0.6 to 0.85 of the bytes of the quickly drawn file."""


def data_uris(pictures: dict[str, StoredPicture]) -> dict[str, str]:
    """Returns each picture by name, with the same pixels; damaged and missing ones are left out."""
    uris = {}
    for name, picture in pictures.items():
        try:
            content = picture.read()
            content = content if picture.suffix == ".svg" else _recompress(content)
        except (OSError, ValueError, SyntaxError, BadZipFile):  # SyntaxError is Pillow's
            continue
        encoded = base64.b64encode(content).decode()
        uris[name] = f"data:{MIME_TYPES[picture.suffix]};base64,{encoded}"
    return uris


def _recompress(png: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["png"]) as image:
        image.save(buffer, "png", compress_level=_LEVEL)
    return buffer.getvalue()
