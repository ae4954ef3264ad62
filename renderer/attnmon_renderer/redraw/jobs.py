"""The jobs of `attnmon render`: each draws some pictures from what a run has stored.

They use the code that draws while training runs. A job reads what it needs and writes its own
files, so jobs can run in any order and in any process.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attnmon.link.messages import Capture
from attnmon_renderer import drawing
from attnmon_renderer.analysis.arrays import read_array
from attnmon_renderer.analysis.patch_rows import with_patch_rows
from attnmon_renderer.drawing import (
    Caption,
    DifferenceData,
    HeatmapData,
    Page,
    append_frame,
    render_png,
    render_vector,
)
from attnmon_renderer.figures.figure_output import animation_frames
from attnmon_renderer.figures.figure_plan import plan_figures
from attnmon_renderer.figures.figure_source import FigureSource
from attnmon_renderer.figures.missing_fonts import missing_font_notices
from attnmon_renderer.figures.pages import heatmap_data
from attnmon_renderer.insight.alert_log import read_episodes
from attnmon_renderer.redraw.capture_selection import NothingSelected, select
from attnmon_renderer.redraw.request import JobResult, RedrawRequest
from attnmon_renderer.redraw.stored_capture import NotStored, StoredCapture
from attnmon_renderer.redraw.stored_maps import read_stored
from attnmon_renderer.sinks.timeline_entries import TimelineEntries
from attnmon_renderer.storage import atomic_files
from attnmon_renderer.storage import paths as layout
from attnmon_renderer.worker import analyze, collect_results, describe_error, draw_capture

Job = Callable[[], JobResult]


def run_job(job: Job) -> JobResult:
    """Run one job; its failure becomes an error in the result.

    Raises:
        NothingSelected: the request selects no layer or no head, which all jobs have in common.
    """
    try:
        return job()
    except NothingSelected:
        raise
    except NotStored as error:
        return JobResult(errors=(str(error),))
    except Exception as error:
        return JobResult(errors=(describe_error(error),))


def draw_step(path: Path, request: RedrawRequest) -> JobResult:
    """Draw all pictures of one step."""
    stored = read_stored(path)
    step = _analyzed(stored, request)
    capture, analyses = step.capture, step.analyses
    folder = request.out / layout.folder(capture)
    figures = plan_figures(capture, request.options, analyses, step.pixels)
    planned = {figure.name for figure in figures}
    results = collect_results(capture, analyses)
    errors = draw_capture(capture, request.options, analyses, results, folder, step.pixels)
    failed = {error.partition(":")[0] for error in errors}
    written = (folder / f"{name}.{request.image_format}" for name in sorted(planned - failed))
    notices = (text for _, text in missing_font_notices(request.options, capture))
    return JobResult(
        tuple(written),
        tuple(f"{folder.name}: {error}" for error in errors),
        (*stored.left_out, *notices),
    )


def draw_animation(paths: Sequence[Path], stem: str, request: RedrawRequest) -> JobResult:
    """Draw one layer's map over the steps, a frame each; colours always end at 1."""
    animation = b""
    request = replace(request, kinds=("animation",))
    for path in paths:
        step = _analyzed(read_stored(path), request, stem)
        for frame in animation_frames(step.capture, request.options, step.analyses):
            animation = append_frame(animation, drawing.heatmap(frame.heatmap())).data
    target = request.out / "animations" / f"{stem}.png"
    atomic_files.replace(target, animation)
    return JobResult((target,))


def selected_stems(path: Path, request: RedrawRequest) -> tuple[str, ...]:
    """Returns the file stems of the selected layers, each of which can be an animation.

    Raises:
        NotStored: the file cannot be read.
        NothingSelected: the request selects no layer or no head.
    """
    capture, _ = select(read_stored(path), request.layers, request.heads)
    return tuple(layout.stem(attention) for attention in capture.attentions)


def draw_timeline(run: Path, request: RedrawRequest) -> JobResult:
    """Draw the entropy over the steps, from the run's history: it needs no weights."""
    damages: list[str] = []
    entries = TimelineEntries.of_history(run / "history.jsonl", damages)
    if not entries:
        none = f"timeline: there is no capture in {run / 'history.jsonl'}"
        return JobResult(errors=(none, *damages))
    page = drawing.timeline(entries.data(read_episodes(run)))
    return JobResult((_write(page, request.out / "timeline", request),), tuple(damages))


def draw_difference(first: Path, last: Path, request: RedrawRequest) -> JobResult:
    """Draw how each layer's map has changed from one step to another."""
    request = replace(request, kinds=("heatmap",))
    before, after = (_analyzed(read_stored(path), request) for path in (first, last))
    earlier = {layout.stem(attention): attention for attention in before.analyses}
    folder = request.out / f"{layout.folder(before.capture)}_to_{layout.folder(after.capture)}"
    pictures, errors = [], []
    for attention in after.analyses:
        stem = layout.stem(attention)
        if stem not in earlier or earlier[stem].shape != attention.shape:
            errors.append(f"{folder.name}: {stem} has not the same shape in both steps")
            continue
        caption = _change_caption(before.capture, after.capture)
        page = _difference_page(
            heatmap_data(before, earlier[stem]),
            heatmap_data(after, attention),
            caption,
            request.top,
        )
        pictures.append(_write(page, folder / f"{stem}_difference", request))
    return JobResult(tuple(pictures), tuple(errors))


def _difference_page(
    before: HeatmapData, after: HeatmapData, run_caption: str, top: float | None
) -> Page:
    caption = Caption(after.caption.title, run_caption, f"change · {after.caption.note}")
    masked = np.asarray(before.masked & after.masked)
    return drawing.difference(
        DifferenceData(caption, before.values, after.values, masked, after.queries, after.keys, top)
    )


def _change_caption(first: Capture, last: Capture) -> str:
    """ "step 0 → 1,200 · loss 4.2 → 0.123" """
    words = f"step {first.step:,} → {last.step:,}"
    if first.loss is None or last.loss is None:
        return words
    return f"{words} · loss {first.loss:.3g} → {last.loss:.3g}"


def _analyzed(
    stored: StoredCapture, request: RedrawRequest, stem: str | None = None
) -> FigureSource:
    """Analyze the selected layers of a capture, or only the one with this file stem."""
    capture, layers = select(stored, request.layers, request.heads)
    analyses = {
        attention: analyze(layer, request.options)
        for attention, layer in layers.items()
        if stem in (None, layout.stem(attention))
    }
    image = capture.image
    pixels = None if image is None else read_array(image.pixels, stored.memory)
    return FigureSource(capture, with_patch_rows(analyses, layers, image), pixels=pixels)


def _write(page: Page, target: Path, request: RedrawRequest) -> Path:
    """Write the page to `target` with the format's suffix; returns that path."""
    path = target.with_name(f"{target.name}.{request.image_format}")
    format_ = request.image_format
    content = render_png(page).data if format_ == "png" else render_vector(page, format_)
    atomic_files.replace(path, content)
    return path
