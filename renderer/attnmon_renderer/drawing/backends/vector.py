"""A page as SVG or PDF, which are sharp at every size, as papers need."""

import io
from typing import Literal

import matplotlib

from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults

VectorFormat = Literal["svg", "pdf"]


def render_vector(page: Page, format: VectorFormat) -> bytes:
    """Draw the page as SVG or PDF; the same page gives the same bytes."""
    # Its figures take as long to load as all the rest of a worker, which mostly writes PNG.
    from attnmon_renderer.drawing.backends.matplotlib_reference import matplotlib_figure

    buffer = io.BytesIO()
    with matplotlib_defaults():
        matplotlib.rcParams["svg.hashsalt"] = "attnmon"
        matplotlib.rcParams["pdf.fonttype"] = 42  # text that can be searched and edited
        dated = {"Date": None} if format == "svg" else {"CreationDate": None}
        matplotlib_figure(page).savefig(buffer, format=format, metadata=dated)
    return buffer.getvalue()
