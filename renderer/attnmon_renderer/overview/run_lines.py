"""Describes many runs, a line each, in columns."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from attnmon.link.records.alert import Severity
from attnmon_renderer.overview.troubles import find_troubles
from attnmon_renderer.storage.run_reader import Run
from attnmon_renderer.terminal import ago, harmless

HEADINGS = ("run", "state", "step", "steps/s", "loss", "picture", "drawn", "lost", "")
LONGEST_NAME = 48
"""Characters of a run's path; of a longer one the end is shown, which tells runs apart."""
_SHORTEST_NAME = 12


def overview_lines(
    runs: Sequence[Run],
    folders: Sequence[Path],
    rates: dict[Path, float] | None = None,
    least: Severity = "error",
    width: int | None = None,
) -> list[str]:
    """Return a heading and a line for each run, its columns aligned.

    A run whose line would be longer than `width` has what is wrong with it on a line of its own.

    Args:
        folders: The directories that were given; names of runs are shown from there on.
        rates: Steps a second at present, by the run's directory; those of the whole run otherwise.
        least: The least serious open alert that is told.
    """
    rows = [HEADINGS, *(_cells(run, folders, rates or {}, least) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is None:
        return [_aligned(row, widths) for row in rows]
    room = width - sum(column + 2 for column in widths[1:-1])
    widths[0] = min(widths[0], max(room, _SHORTEST_NAME))
    return [line for row in rows for line in _fitted(row, widths, width)]


def _fitted(cells: Sequence[str], widths: Sequence[int], width: int) -> Iterator[str]:
    if len(cells[0]) > widths[0]:
        cells = (f"…{cells[0][1 - widths[0] :]}", *cells[1:])
    line = _aligned(cells, widths)
    if len(line) <= width or not cells[-1]:
        yield line
    else:
        yield _aligned((*cells[:-1], ""), widths)
        yield f"  {cells[-1]}"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = {0, 1, len(cells) - 1}  # numbers stand on the right of their columns
    each = zip(cells, widths, range(len(cells)), strict=True)
    return "  ".join(f"{c:{w}}" if n in texts else f"{c:>{w}}" for c, w, n in each).rstrip()


def _cells(
    run: Run, folders: Sequence[Path], rates: dict[Path, float], least: Severity
) -> tuple[str, ...]:
    summary, now = run.summary, time.time()
    loss = None if run.last is None else run.last["metadata"].get("loss")
    newest, step = summary.get("newest_picture"), summary.get("last_step")
    rate = rates.get(run.folder, _rate_of_whole_run(run))
    troubles = find_troubles(run, least)
    return (
        harmless(_name(run.folder, folders))[-LONGEST_NAME:],
        harmless(run.state),
        "–" if step is None else f"{step:,}",
        "–" if rate is None or run.has_ended else f"{rate:.3g}",
        "–" if loss is None else f"{loss:.4g}",
        "–" if newest is None else f"{ago(now - newest)} ago",
        f"{run.count('rendered')}/{run.count('captured')}",
        str(run.count("dropped") + run.count("failed")),
        f"! {harmless(troubles[0])}" if troubles else _remark(run),
    )


def _remark(run: Run) -> str:
    return "every core is busy" if run.summary.get("starved") and not run.has_ended else ""


def _name(run: Path, folders: Sequence[Path]) -> str:
    """Return a run's path from the directory that was given; that one's own name for itself."""
    above = next((folder for folder in folders if run.is_relative_to(folder)), run)
    inner = os.fspath(run.relative_to(above))
    several = f"{above.name}/{inner}" if len(folders) > 1 else inner
    return above.name if inner == "." else several


def _rate_of_whole_run(run: Run) -> float | None:
    """Return the steps a second from the start to the summary; None where they are not known."""
    started, written = run.summary.get("started"), run.summary.get("written")
    if not started or not written or written <= started or not run.count("steps"):
        return None
    rate: float = run.count("steps") / (written - started)
    return rate
