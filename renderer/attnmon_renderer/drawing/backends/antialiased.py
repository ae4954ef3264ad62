"""The shapes and the mesh of a page, drawn by matplotlib's rasterizer on an empty canvas."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, IdentityTransform

from attnmon_renderer.drawing.spec.page import Mesh, Page, Shape
from attnmon_renderer.drawing.spec.palettes import WHITE, Indices
from attnmon_renderer.drawing.text.glyphs import POINTS_PER_INCH
from attnmon_renderer.drawing.text.rc_defaults import text_defaults

_AGG: Any = RendererAgg  # has no type annotations


def rasterize_shapes(page: Page, canvas: Indices) -> None:
    """Fill a canvas, [rows, columns] palette indices, with white and the page's shapes and mesh.

    The palette index of a grey is its value. The mesh is drawn in greys that are its indices, and
    without anti-aliasing, which would make other greys.
    """
    if not page.shapes and page.mesh is None:
        canvas[:] = WHITE
        return
    with text_defaults():
        renderer = _AGG(page.width, page.height, POINTS_PER_INCH)
        colours = np.asarray(renderer.buffer_rgba())
        colours[:] = WHITE
        for shape in page.shapes:
            _draw(renderer, shape, page.height)
        if page.mesh is not None:
            _draw_mesh(renderer, page.mesh, page.height)
    canvas[:] = colours[:, :, 0]


def page_transform(height: int) -> Affine2D:
    """Return the transform from y that counts downwards to matplotlib's, which counts upwards."""
    return Affine2D().scale(1, -1).translate(0, height)


def _draw(renderer: Any, shape: Shape, height: int) -> None:
    grey = (shape.grey / WHITE,) * 3 + (1.0,)
    context = renderer.new_gc()
    context.set_linewidth(shape.line_width)
    context.set_foreground(grey, isRGBA=True)
    context.set_joinstyle("round")
    context.set_capstyle("projecting")
    closed = not shape.line_width
    path = Path(np.vstack([shape.points, shape.points[:1]]) if closed else shape.points)
    renderer.draw_path(context, path, page_transform(height), grey if closed else None)


def _draw_mesh(renderer: Any, mesh: Mesh, height: int) -> None:
    rows, columns = mesh.indices.shape
    colours = np.ones((mesh.indices.size, 4))
    colours[:, :3] = mesh.indices.reshape(-1, 1) / WHITE
    context = renderer.new_gc()
    context.set_linewidth(0)
    renderer.draw_quad_mesh(
        context,
        page_transform(height).frozen(),
        columns,
        rows,
        mesh.corners,
        np.zeros((1, 2)),
        IdentityTransform(),
        colours,
        False,
        np.empty((0, 4)),
    )
