"""A page as SVG or PDF, which are sharp at every size, as papers need."""

import io
from typing import Literal

import matplotlib

from attnmon_renderer.drawing.spec.page import Page
from attnmon_renderer.drawing.text.fonts import DEJAVU, runs
from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults

VectorFormat = Literal["svg", "pdf"]


def render_vector(page: Page, format: VectorFormat) -> bytes:
    """Draw the page as SVG or PDF; the same page gives the same bytes."""
    # Its figures take as long to load as all the rest of a worker, which mostly writes PNG.
    from attnmon_renderer.drawing.backends.matplotlib_reference import matplotlib_figure

    buffer = io.BytesIO()
    with matplotlib_defaults():
        matplotlib.rcParams["svg.hashsalt"] = "attnmon"
        matplotlib.rcParams["pdf.fonttype"] = _pdf_font_type(page)
        dated = {"Date": None} if format == "svg" else {"CreationDate": None}
        matplotlib_figure(page).savefig(buffer, format=format, metadata=dated)
    return buffer.getvalue()


def _pdf_font_type(page: Page) -> int:
    """Return how a PDF holds its fonts; either way its text can be searched and copied.

    TrueType (42) is what publishers ask for. Of fonts with PostScript outlines, as Noto's Chinese
    ones, matplotlib makes a file in that form that is no valid PDF, and it takes a second: where
    the page needs other fonts than DejaVu, glyphs are drawings (3).
    """
    families = {run.families for text in page.texts for run in runs(text.string, text.font)}
    return 42 if families <= {DEJAVU} else 3
