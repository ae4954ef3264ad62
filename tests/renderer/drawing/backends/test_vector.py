"""Pages as SVG and PDF: well-formed, complete, and the same every time."""

import re
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from support.font_packages import require_fonts
from support.pictures import attention, head_grid_data, heatmap_data

from attnmon_renderer.drawing.backends.vector import VectorFormat, render_vector
from attnmon_renderer.drawing.charts import heatmaps
from attnmon_renderer.drawing.spec.page import Font, Page, Text


def test_svg_has_the_pages_size_and_its_maps() -> None:
    page = heatmaps.head_grid(head_grid_data(3, 10, 10))
    root = ElementTree.fromstring(render_vector(page, "svg"))
    assert root.attrib["width"] == f"{page.width}pt"
    assert root.attrib["height"] == f"{page.height}pt"
    images = list(root.iter("{http://www.w3.org/2000/svg}image"))
    assert len(images) >= 3


def test_pdf_is_one_whole_document() -> None:
    data = render_vector(heatmaps.heatmap(heatmap_data(attention(2, 8, 8)[1])), "pdf")
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert data.count(b"/Type /Page ") == 1


@pytest.mark.parametrize("format", ["svg", "pdf"])
def test_the_same_page_gives_the_same_bytes(format: VectorFormat) -> None:
    page = heatmaps.heatmap(heatmap_data(attention(2, 8, 8)[1]))
    assert render_vector(page, format) == render_vector(page, format)


def fonts_in(page: Page) -> tuple[bool, list[bytes]]:
    """Whether the page's PDF holds TrueType fonts, and the first bytes of its streams."""
    data = render_vector(page, "pdf")
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    return b"/CIDFontType2" in data, [zlib.decompressobj().decompress(each)[:4] for each in streams]


def test_a_pdf_holds_truetype_fonts_and_none_in_a_form_that_is_not_valid() -> None:
    page = heatmaps.heatmap(heatmap_data(attention(2, 8, 8)[1]))
    holds_truetype, streams = fonts_in(page)
    assert holds_truetype, "publishers ask for it"
    require_fonts()
    chinese = replace(page, texts=(*page.texts, Text(9, 30, "注意力", Font(20))))
    holds_truetype, streams = fonts_in(chinese)
    assert not (holds_truetype and b"OTTO" in streams), "PostScript outlines called TrueType"
