"""Pictures drawn again from what a run has stored, by the code that draws while training runs.

Each function here is a task by itself: it reads what it needs, writes its pictures and says what
became of them. So tasks can be done in any order, in any process.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from attnmon.link.messages import Attention, Capture
from attnmon_renderer import drawing
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis
from attnmon_renderer.drawing import (
    Caption,
    DifferenceData,
    Page,
    append_frame,
    render_png,
    render_vector,
)
from attnmon_renderer.figures import figure_plan
from attnmon_renderer.redraw.capture_selection import NothingChosen, choose
from attnmon_renderer.redraw.request import JobResult, RedrawRequest
from attnmon_renderer.redraw.stored_capture import NotStored, read_capture
from attnmon_renderer.results import Results
from attnmon_renderer.sinks import animation_and_timeline
from attnmon_renderer.sinks.history import read_history
from attnmon_renderer.storage import atomic_files
from attnmon_renderer.storage import paths as layout
from attnmon_renderer.worker import analyze, draw_capture, in_words

Job = Callable[[], JobResult]


def attempt(task: Job) -> JobResult:
    """The task's outcome, also when it fails. What is wrong with all of a run's tasks is raised."""
    try:
        return task()
    except NothingChosen:
        raise
    except NotStored as error:
        return JobResult(errors=(str(error),))
    except Exception as error:
        return JobResult(errors=(in_words(error),))


def capture(path: Path, request: RedrawRequest) -> JobResult:
    """All pictures of one step."""
    made, analyses = _surveyed(path, request)
    folder = request.out / layout.folder(made)
    before = {figure.name for figure in figure_plan.plan_figures(made, request.options, analyses)}
    results = Results(folder.name, {})
    errors = draw_capture(made, request.options, analyses, results, folder)
    failed = {error.partition(":")[0] for error in errors}
    written = (folder / f"{name}.{request.image_format}" for name in sorted(before - failed))
    return JobResult(tuple(written), tuple(f"{folder.name}: {error}" for error in errors))


def animation(paths: Sequence[Path], stem: str, request: RedrawRequest) -> JobResult:
    """One layer's map over the steps, a frame each; colours always end at 1."""
    film = b""
    request = replace(request, kinds=("animation",))
    for path in paths:
        made, analyses = _surveyed(path, request, stem)
        for frame in figure_plan.animation_frames(made, request.options, analyses):
            film = append_frame(film, drawing.heatmap(frame.heatmap())).data
    target = request.out / "animations" / f"{stem}.png"
    atomic_files.replace(target, film)
    return JobResult((target,))


def stems(path: Path, request: RedrawRequest) -> tuple[str, ...]:
    """The names of the layers chosen, of which each can be an animation. Raises NotStored."""
    made, _ = choose(read_capture(path), request.layers, request.heads)
    return tuple(layout.stem(attention) for attention in made.attentions)


def timeline(run: Path, request: RedrawRequest) -> JobResult:
    """Entropy over the steps, from the run's history: it needs no weights."""
    documents = read_history(run / "history.jsonl")
    if not documents:
        return JobResult(errors=(f"timeline: there is no capture in {run / 'history.jsonl'}",))
    page = drawing.timeline(animation_and_timeline.timeline_picture(documents))
    return JobResult((_write(page, request.out / "timeline", request),))


def difference(before: Path, after: Path, request: RedrawRequest) -> JobResult:
    """How each layer's map has changed from one step to another."""
    request = replace(request, kinds=("heatmap",))
    first, old = _surveyed(before, request)
    last, new = _surveyed(after, request)
    earlier = {layout.stem(attention): (attention, old[attention]) for attention in old}
    folder = request.out / f"{layout.folder(first)}_to_{layout.folder(last)}"
    pictures, errors = [], []
    for attention in new:
        stem = layout.stem(attention)
        if stem not in earlier or earlier[stem][0].shape != attention.shape:
            errors.append(f"{folder.name}: {stem} has not the same shape in both steps")
            continue
        page = _difference(first, *earlier[stem], last, attention, new[attention], request.top)
        pictures.append(_write(page, folder / f"{stem}_difference", request))
    return JobResult(tuple(pictures), tuple(errors))


def _difference(
    first: Capture,
    was: Attention,
    old: LayerAnalysis,
    last: Capture,
    attention: Attention,
    new: LayerAnalysis,
    top: float | None,
) -> Page:
    before = figure_plan.heatmap_data(first, was, {was: old})
    after = figure_plan.heatmap_data(last, attention, {attention: new})
    caption = Caption(after.caption.title, _from_to(first, last), f"change · {after.caption.note}")
    masked = np.asarray(before.masked & after.masked)
    return drawing.difference(
        DifferenceData(caption, before.values, after.values, masked, after.queries, after.keys, top)
    )


def _from_to(first: Capture, last: Capture) -> str:
    """ "step 0 → 1,200 · loss 4.2 → 0.123" """
    words = f"step {first.step:,} → {last.step:,}"
    if first.loss is None or last.loss is None:
        return words
    return f"{words} · loss {first.loss:.3g} → {last.loss:.3g}"


def _surveyed(
    path: Path, request: RedrawRequest, stem: str | None = None
) -> tuple[Capture, dict[Attention, LayerAnalysis]]:
    made, layers = choose(read_capture(path), request.layers, request.heads)
    options = request.options
    return made, {
        attention: analyze(layer, options)
        for attention, layer in layers.items()
        if stem in (None, layout.stem(attention))
    }


def _write(page: Page, target: Path, request: RedrawRequest) -> Path:
    path = target.with_name(f"{target.name}.{request.image_format}")
    format_ = request.image_format
    atomic_files.replace(
        path, render_png(page).data if format_ == "png" else render_vector(page, format_)
    )
    return path
