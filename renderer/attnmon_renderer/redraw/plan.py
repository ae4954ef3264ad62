"""Plans the jobs that draw the requested pictures from what a run has stored."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attnmon_renderer.redraw import jobs
from attnmon_renderer.redraw.jobs import Job
from attnmon_renderer.redraw.request import RedrawRequest
from attnmon_renderer.redraw.stored_capture import NotStored
from attnmon_renderer.redraw.stored_maps import files_stored
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.paths import RUN_FIGURES

MULTI_STEP_KINDS = {*RUN_FIGURES, "difference"}
"""Kinds of pictures that show more than one step."""


def plan_jobs(run: Path, request: RedrawRequest, steps: list[int] | None) -> Iterator[Job]:
    """Yields the jobs for a run's directory; `steps` of None are all stored steps.

    Raises:
        NotStored: the run has neither raw weights nor maps, or none of a requested step.
        NothingSelected: the request selects no layer or no head.
    """
    kinds = set(request.kinds)
    if "timeline" in kinds:
        yield partial(jobs.draw_timeline, run, request)
    if kinds == {"timeline"}:
        return
    paths = _files(run, steps)
    if kinds - MULTI_STEP_KINDS:
        yield from (partial(jobs.draw_step, path, request) for path in paths)
    if "animation" in kinds:
        for stem in jobs.selected_stems(paths[0], request):
            yield partial(jobs.draw_animation, paths, stem, request)
    if "difference" in kinds:
        yield partial(jobs.draw_difference, *_steps_to_compare(paths, steps), request)


def _files(run: Path, steps: list[int] | None) -> list[Path]:
    stored = files_stored(run)
    if not stored:
        raise NotStored(_no_weights_message(run))
    absent = sorted(set(steps or ()) - set(stored.values()))
    if absent:
        known = ", ".join(map(str, dict.fromkeys(stored.values())))
        none = f"neither raw weights nor maps of step {absent[0]}"
        raise NotStored(f"{none}; there are those of {known}")
    return [path for path, step in stored.items() if steps is None or step in steps]


def _steps_to_compare(paths: list[Path], steps: list[int] | None) -> tuple[Path, Path]:
    """Returns the two requested steps, or the first and the last."""
    if len(paths) < 2 or (steps is not None and len(paths) != 2):
        raise NotStored(f"a difference takes two steps, not {len(paths)}: give --steps A B")
    return paths[0], paths[-1]


def _no_weights_message(run: Path) -> str:
    if not run.is_dir():
        return f"there is no directory {run}"
    below = (run / name for name in regular_files.folders_in(run))
    runs_below = [str(folder) for folder in sorted(below) if files_stored(folder)]
    hint = f" Runs below it that have: {', '.join(runs_below[:5])}." if runs_below else ""
    return (
        f"neither raw weights (save_raw_weights=True) nor maps (maps=) in {run}. "
        f"Without them only --kinds timeline can be drawn.{hint}"
    )
