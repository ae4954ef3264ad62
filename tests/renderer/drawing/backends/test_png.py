"""The PNG writer against Pillow's reader and the format's own checksums."""

import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from support.pictures import attention, heatmap_data

from attnmon_renderer.drawing import card, heatmap
from attnmon_renderer.drawing.backends import png
from attnmon_renderer.drawing.backends.png import encode, render_png
from attnmon_renderer.drawing.backends.raster import rasterize

PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)

canvases = arrays.arrays(
    np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 255)
)


@given(canvases, st.integers(1, 9))
def test_what_is_written_is_what_is_read(canvas: np.ndarray, repeated: int) -> None:
    """Any pixels, in large and small cells."""
    canvas = canvas.repeat(repeated, axis=0).repeat(repeated, axis=1)
    png = encode(canvas, PALETTE)
    with Image.open(io.BytesIO(png.data)) as image:
        image.verify()  # the checksums
    with Image.open(io.BytesIO(png.data)) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), PALETTE[canvas])
    assert (png.width, png.height) == canvas.shape[::-1]


def test_where_there_is_no_isal_zlib_writes_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canvas = np.random.default_rng(1).integers(0, 256, (30, 40), dtype=np.uint8)
    fast = encode(canvas, PALETTE)
    monkeypatch.setattr(png, "zlib", zlib)
    plain = encode(canvas, PALETTE)
    for written in (fast, plain):
        with Image.open(io.BytesIO(written.data)) as image:
            assert np.array_equal(np.asarray(image.convert("RGB")), PALETTE[canvas])


def test_pictures_that_share_memory_are_not_mixed() -> None:
    """A smaller picture after a larger one, and the larger one again."""
    large = heatmap(heatmap_data(attention(1, 40, 40)[0]))
    pages = [large, card(large), large]
    for png_file, page in zip(map(render_png, pages), pages, strict=True):
        with Image.open(io.BytesIO(png_file.data)) as image:
            found = np.asarray(image.convert("RGB"))
        assert np.array_equal(found, page.palette.colours[rasterize(page)])
