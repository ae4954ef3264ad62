"""From a planned figure to its file, and from a capture to the next frames of its animations."""

from typing import TYPE_CHECKING, Literal

from attnmon.link.messages import Capture
from attnmon.link.records.run_setup import RenderOptions
from attnmon_renderer.figures.figure_plan import Figure
from attnmon_renderer.figures.figure_source import Analyses, FigureSource
from attnmon_renderer.results import AnimationFrame, RenderedImage
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.step_folder import StepOutput

if TYPE_CHECKING:  # it loads matplotlib, which statistics alone do without
    from attnmon_renderer.drawing import Page


def write_figure(
    figure: Figure, output: StepOutput, image_format: Literal["png", "svg", "pdf"]
) -> "Page":
    """Write the figure in the image format, and return its page. Raises OSError."""
    from attnmon_renderer.drawing import render_png, render_vector

    page = figure.make_page()
    output.put(
        f"{figure.name}.{image_format}",
        render_png(page).data if image_format == "png" else render_vector(page, image_format),
    )
    return page


def tensorboard_card(figure: Figure, page: "Page") -> RenderedImage:
    """Draw a figure's page as a card of TensorBoard, which shows many side by side."""
    from attnmon_renderer.drawing import card, render_png

    png = render_png(card(page), differences=False)
    return RenderedImage(figure.tag, png.width, png.height, png.data)


def animation_frames(
    capture: Capture, options: RenderOptions, analyses: Analyses
) -> list[AnimationFrame]:
    """Return one frame for each layer's animation, which the recorder appends to its file.

    All frames have the same colour scale, up to a weight of 1.
    """
    if "animation" not in options.pictures:
        return []
    from attnmon_renderer.figures.pages import heatmap_data

    source = FigureSource(capture, analyses, top=1.0)
    return [
        AnimationFrame.from_heatmap(paths.stem(attention), heatmap_data(source, attention))
        for attention in analyses
    ]
