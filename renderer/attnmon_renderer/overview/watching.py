"""Keeps a page of runs up to date on a terminal, also over ssh, until it is interrupted."""

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from attnmon.link.records.alert import Severity
from attnmon_renderer.overview.run_lines import overview_lines
from attnmon_renderer.overview.troubles import find_troubles
from attnmon_renderer.storage.run_reader import NoRun, Run, find_runs, read_run
from attnmon_renderer.terminal import harmless

WATCH_SECONDS = 2.0
"""How often the files are read again."""
_BEGIN_PAGE, _END_LINE, _END_PAGE = "\x1b[H", "\x1b[K\n", "\x1b[J"


def watch(
    folders: Sequence[Path],
    stream: TextIO,
    seconds: float = WATCH_SECONDS,
    least: Severity = "error",
) -> int:
    """Show all runs in and below these directories until Ctrl-C; returns the exit code.

    1 when something is wrong with a run, such as an open alert of `least` severity or more; 0
    otherwise; 2 when there was none. Runs that begin meanwhile join. A stream that is no terminal
    gets page after page.
    """
    rates = StepRates()
    runs: list[Run] = []
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            runs = _read_all(folders)
            rates.add(runs)
            width = shutil.get_terminal_size().columns - 1 if stream.isatty() else None
            lines = overview_lines(runs, folders, rates.now, least, width)
            _show(_page(runs, lines, folders), stream)
            time.sleep(seconds)
    if not runs:
        return 2
    return 1 if any(find_troubles(run, least) for run in runs) else 0


class StepRates:
    """Steps a second of each run, from one reading of its summary to the next."""

    def __init__(self) -> None:
        self._last: dict[Path, tuple[float, int]] = {}
        self.now: dict[Path, float] = {}
        """By the run's directory; runs that were read once are missing."""

    def add(self, runs: Sequence[Run]) -> None:
        """Compare with the reading before, where a summary was written since."""
        for run in runs:
            written, steps = run.summary.get("written", 0.0), run.count("steps")
            before, steps_before = self._last.get(run.folder, (0.0, 0))
            if before and written > before and steps >= steps_before:
                self.now[run.folder] = (steps - steps_before) / (written - before)
            if written != before:
                self._last[run.folder] = (written, steps)


def _read_all(folders: Sequence[Path]) -> list[Run]:
    found = []
    for folder in dict.fromkeys(run for above in folders for run in find_runs(above)):
        with contextlib.suppress(NoRun):  # it may have been removed meanwhile
            found.append(read_run(folder))
    return found


def _page(runs: Sequence[Run], lines: Sequence[str], folders: Sequence[Path]) -> list[str]:
    moment = time.strftime("%H:%M:%S")
    if not runs:
        return [f"{moment}  no run yet in {harmless(', '.join(map(str, folders)))}"]
    return [f"{moment}  Ctrl-C ends this", "", *lines]


def _show(lines: Sequence[str], stream: TextIO) -> None:
    if not stream.isatty():
        stream.write("\n".join([*lines, "", ""]))
        stream.flush()
        return
    columns, rows = shutil.get_terminal_size()
    shown = [line[: columns - 1] for line in lines]
    if len(shown) >= rows:
        shown = [*shown[: rows - 2], f"… and {len(shown) - rows + 2} more"]
    stream.write(_BEGIN_PAGE + "".join(line + _END_LINE for line in shown) + _END_PAGE)
    stream.flush()
