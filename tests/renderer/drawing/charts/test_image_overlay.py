"""Attention over an image: against matplotlib, and what its pixels are made of."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image
from support.pictures import (
    CAPTION,
    assert_matplotlib_draws_the_same,
    assert_texts_stand_apart,
    columns_of,
    decoded,
    rows_of,
)

from attnmon_renderer.drawing import (
    ImageOverlayData,
    card,
    image_overlay,
    render_png,
    render_vector,
)

ROWS, COLUMNS = 4, 6


def example(pixels: np.ndarray | None = None, top: float | None = None) -> ImageOverlayData:
    values = np.linspace(0, 0.1, ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    return ImageOverlayData(CAPTION, values, pixels, top)


def test_it_is_drawn_as_matplotlib_does() -> None:
    page = image_overlay(example())
    assert_matplotlib_draws_the_same(decoded(render_png(page)), page)
    assert_texts_stand_apart(page)


def test_image_overlay_and_attention_stand_side_by_side_on_one_grid() -> None:
    image, overlay, attention = image_overlay(example()).maps
    assert [area.label for area in (image, overlay, attention)] == ["image", "overlay", "attention"]
    assert len({(area.y, area.width, area.height) for area in (image, overlay, attention)}) == 1
    assert image.cell_width == image.cell_height
    assert attention.pixels is None


def test_the_image_has_its_own_colours_edge_to_edge() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0] = (255, 0, 0), (0, 255, 0), (1, 2, 3)
    page = image_overlay(example(pixels))
    area = page.maps[0]
    drawn = decoded(render_png(page))[rows_of(area), columns_of(area)]
    expected = pixels.repeat(area.height // 2, axis=0).repeat(area.width // 2, axis=1)
    assert np.array_equal(drawn, expected)


def test_the_overlay_mixes_the_map_s_colours_with_the_image_in_grey() -> None:
    page = image_overlay(example(np.full((8, 12, 3), (200, 100, 50), np.uint8)))
    _, overlay, attention = page.maps
    drawn = decoded(render_png(page)).astype(float)
    mixed = drawn[rows_of(overlay), columns_of(overlay)]
    plain = drawn[rows_of(attention), columns_of(attention)]
    grey = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    for share, corner in ((0.25, (0, 0)), (0.25 + 0.45 * 79 / 80, (-1, -1))):
        expected = share * plain[corner] + (1 - share) * grey
        assert np.abs(mixed[corner] - expected).max() <= 1


def test_the_card_and_the_vector_formats_hold_the_image() -> None:
    colour = (200, 30, 90)
    page = image_overlay(example(np.full((8, 12, 3), colour, np.uint8)))
    assert (decoded(render_png(card(page))) == colour).all(axis=2).sum() > 1000
    svg, pdf = render_vector(page, "svg"), render_vector(page, "pdf")
    assert svg.count(b"<image") >= 2
    assert pdf.count(b"/Subtype /Image") >= 2


def test_a_page_without_an_image_stays_one_of_a_palette() -> None:
    true_colour = render_png(image_overlay(example()))
    with Image.open(io.BytesIO(true_colour.data)) as image:
        assert image.mode == "RGB"
    assert zlib.crc32(true_colour.data) == zlib.crc32(render_png(image_overlay(example())).data)


def test_the_scale_ends_where_it_is_told() -> None:
    assert image_overlay(example(top=1.0)).bars[0].scale.high == 1.0


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an image of \(4, 4\)"):
        example(np.zeros((4, 4), np.uint8))
