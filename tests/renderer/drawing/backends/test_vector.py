"""Pages as SVG and PDF: well-formed, complete, and the same every time."""

from xml.etree import ElementTree

import pytest
from support.pictures import attention, head_grid_data, heatmap_data

from attnmon_renderer.drawing.backends.vector import VectorFormat, render_vector
from attnmon_renderer.drawing.charts import heatmaps


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
