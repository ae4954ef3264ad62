"""Which tasks give the pictures asked for, from what a run has stored."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attnmon_renderer.redraw import jobs
from attnmon_renderer.redraw.jobs import Job
from attnmon_renderer.redraw.request import RedrawRequest
from attnmon_renderer.redraw.stored_capture import NotStored, steps_stored

OF_A_RUN = {"animation", "timeline", "difference"}
"""The kinds that take more than one step."""


def planned(run: Path, request: RedrawRequest, steps: list[int] | None) -> Iterator[Job]:
    """What is to be done. Raises `NotStored` where there is nothing to do it from."""
    kinds = set(request.kinds)
    if "timeline" in kinds:
        yield partial(jobs.timeline, run, request)
    if kinds == {"timeline"}:
        return
    paths = _files(run, steps)
    if kinds - OF_A_RUN:
        yield from (partial(jobs.capture, path, request) for path in paths)
    if "animation" in kinds:
        for stem in jobs.stems(paths[0], request):
            yield partial(jobs.animation, paths, stem, request)
    if "difference" in kinds:
        yield partial(jobs.difference, *_two(paths, steps), request)


def _files(run: Path, steps: list[int] | None) -> list[Path]:
    stored = steps_stored(run)
    if not stored:
        raise NotStored(_what_is_there_instead(run))
    absent = sorted(set(steps or ()) - set(stored.values()))
    if absent:
        there = ", ".join(map(str, dict.fromkeys(stored.values())))
        raise NotStored(f"no raw weights of step {absent[0]}; there are those of {there}")
    return [path for path, step in stored.items() if steps is None or step in steps]


def _two(paths: list[Path], steps: list[int] | None) -> tuple[Path, Path]:
    """The two steps to compare: those given, else the first and the last."""
    if len(paths) < 2 or (steps is not None and len(paths) != 2):
        raise NotStored(f"a difference takes two steps, not {len(paths)}: give --steps A B")
    return paths[0], paths[-1]


def _what_is_there_instead(run: Path) -> str:
    if not run.is_dir():
        return f"there is no directory {run}"
    below = sorted({str(found.parents[1]) for found in run.glob("*/*step_*/*.safetensors")})
    hint = f" Runs below it that have: {', '.join(below[:5])}." if below else ""
    return (
        f"no raw weights in {run}: a monitor stores them with save_raw_weights=True. "
        f"Without them only --kinds timeline can be drawn.{hint}"
    )
