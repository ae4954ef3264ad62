"""Draw pictures again from the raw weights of a run, or its maps, with other settings.

It reads what a monitor with save_raw_weights=True has stored, of other steps the maps of a byte a
cell, where they are not pooled; a picture says so. It writes below DIR/rendered, so
that the pictures drawn while training are kept. The exit code is 0, 1 when some picture could not
be drawn, 2 when there is nothing to draw from.
"""

import argparse
import difflib
import math
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from attnmon.link.thread_limits import SINGLE_THREAD
from attnmon_renderer.storage import paths, regular_files
from attnmon_renderer.terminal import counted, harmless

if TYPE_CHECKING:
    from attnmon_renderer.redraw.request import JobResult, RedrawRequest

KINDS = (*paths.STEP_FIGURES, *paths.RUN_FIGURES, "difference")
SHOWN_ERRORS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("directory", metavar="DIR", type=Path, help="the monitor's save_dir")
    kinds = ", ".join(KINDS)
    add("--kinds", nargs="+", default=["heatmap"], metavar="KIND", type=_kind, help=kinds)
    add("--steps", nargs="+", type=int, metavar="N", help="these only; two for a difference")
    add("--layers", nargs="+", type=_layer, metavar="L", help="0, -1, a name or a pattern")
    add("--heads", nargs="+", type=int, metavar="H", help="these only")
    add("--format", choices=["png", "svg", "pdf"], default="png", help="of the pictures")
    add("--pooling", choices=["mass", "max"], default="mass", help="of long sequences")
    add("--top", type=_top, metavar="W", help="end all colours at this weight, such as 1")
    add("--out", metavar="DIR2", type=Path, help="where to write (default: DIR/rendered)")
    add("--shard", type=_shard, metavar="I/N", default=(0, 1),
        help="only part I of N, from 0, for job arrays: together they draw all")  # fmt: skip
    add("--jobs", type=_jobs, metavar="N", default=None, help="processes (default: all cores)")


def run(arguments: argparse.Namespace) -> int:
    os.environ.update(SINGLE_THREAD)  # before numpy is loaded, here and for forks
    from attnmon_renderer.redraw.capture_selection import NothingSelected
    from attnmon_renderer.redraw.plan import plan_jobs
    from attnmon_renderer.redraw.process_pool import run_jobs
    from attnmon_renderer.redraw.stored_capture import NotStored

    directory = regular_files.resolved(arguments.directory)
    request = _request(arguments, directory)
    try:
        regular_files.refuse_to_make_top_folder(request.out)
        part, parts = arguments.shard
        jobs = list(plan_jobs(directory, request, arguments.steps))[part::parts]
        results = list(run_jobs(jobs, arguments.jobs or _usable_cores()))
    except (NotStored, NothingSelected, FileNotFoundError) as error:
        print(f"attnmon render: {harmless(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnmon render: interrupted; what is drawn, is there", file=sys.stderr)
        return 130
    except BrokenProcessPool:
        print("attnmon render: a drawing process was killed; try --jobs 1", file=sys.stderr)
        return 1
    return _report_results(results, request, is_part=parts > 1)


def _request(arguments: argparse.Namespace, directory: Path) -> "RedrawRequest":
    from attnmon_renderer.redraw.request import RedrawRequest

    return RedrawRequest(
        out=regular_files.resolved(arguments.out) if arguments.out else directory / "rendered",
        kinds=tuple(dict.fromkeys(arguments.kinds)),
        layers=arguments.layers,
        heads=arguments.heads,
        image_format=arguments.format,
        pooling=arguments.pooling,
        top=arguments.top,
    )


def _report_results(
    results: Sequence["JobResult"], request: "RedrawRequest", *, is_part: bool
) -> int:
    """Print what was drawn and what was not; returns the exit code."""
    pictures = [picture for result in results for picture in result.pictures]
    errors = [error for result in results for error in result.errors]
    print(f"{counted(len(pictures), 'picture')} in {harmless(request.out)}")
    for error in errors[:SHOWN_ERRORS]:
        print(f"  error  {harmless(error)}")
    if len(errors) > SHOWN_ERRORS:
        print(f"  and {len(errors) - SHOWN_ERRORS} more")
    for notice in dict.fromkeys(notice for result in results for notice in result.notices):
        print(f"! {harmless(notice)}")
    for kind in () if is_part else _kinds_not_drawn(request.kinds, pictures):
        print(f"! no picture of {kind!r} applies to these layers: {REQUIREMENTS[kind]}")
        errors.append(kind)
    return 1 if errors else 0


STEM_ENDINGS = {"alignment": "_alignment", "rollout": "_rollout"}
REQUIREMENTS = {
    "alignment": "it is of cross-attention",
    "rollout": "it takes the self-attention of every layer from the first, not pooled",
}


def _kinds_not_drawn(kinds: tuple[str, ...], pictures: list[Path]) -> list[str]:
    """Returns the requested kinds that apply to none of these layers."""
    return [
        kind
        for kind, ending in STEM_ENDINGS.items()
        if kind in kinds and not any(picture.stem.endswith(ending) for picture in pictures)
    ]


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kind(text: str) -> str:
    if text not in KINDS:
        near = difflib.get_close_matches(text, KINDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(KINDS)
        raise argparse.ArgumentTypeError(f"unknown kind {text!r}; known are {known}.{hint}")
    return text


def _layer(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text


def _top(text: str) -> float:
    top = float(text)
    if not 0 < top < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: give a weight above 0, such as 1")
    return top


def _shard(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise argparse.ArgumentTypeError(f"{text}: give a part and how many there are, 0/8 to 7/8")
    return int(part), int(parts)


def _jobs(text: str) -> int:
    jobs = int(text)
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return jobs
