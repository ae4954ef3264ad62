"""Pictures as text that stands in a document."""

import base64
import io
from pathlib import Path

from PIL import Image

from attnmon_renderer.report.gather import SUFFIXES

_LEVEL = 6
"""Of zlib: takes 6 ms a picture for two thirds of the bytes that drawing, in haste, has left."""


def data_uris(pictures: dict[str, Path]) -> dict[str, str]:
    """By name, each picture with the same pixels; those that are damaged or gone are left out."""
    found = {}
    for name, path in pictures.items():
        try:
            content = path.read_bytes() if path.suffix == ".svg" else _smaller(path)
        except (OSError, ValueError, SyntaxError):  # what Pillow raises for a broken file
            continue
        encoded = base64.b64encode(content).decode()
        found[name] = f"data:{SUFFIXES[path.suffix]};base64,{encoded}"
    return found


def _smaller(path: Path) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path, formats=["png"]) as image:
        image.save(buffer, "png", compress_level=_LEVEL)
    return buffer.getvalue()
