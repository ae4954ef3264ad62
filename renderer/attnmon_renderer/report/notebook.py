"""Shows a run in a notebook: a line on how it stands, and its latest pictures."""

import time
from html import escape
from os import PathLike
from pathlib import Path

from attnmon_renderer.report.embed import data_uris
from attnmon_renderer.report.stored_pictures import PicturedSteps
from attnmon_renderer.storage import run_reader
from attnmon_renderer.storage.regular_files import resolved
from attnmon_renderer.terminal import ago, counted

MOST_PICTURES = 4
"""Of the latest step: a cell is to be looked over, not scrolled."""


class ShownRun:
    """A run that shows itself in a notebook, anew whenever a cell ends with it.

    Args:
        save_dir (str | PathLike[str]): The monitor's directory.
    """

    def __init__(self, save_dir: str | PathLike[str]) -> None:
        self._folder = Path(save_dir)

    def _repr_html_(self) -> str:
        return run_html(self._folder)

    def __repr__(self) -> str:
        return f"ShownRun({str(self._folder)!r})"


def run_html(folder: Path) -> str:
    """Return HTML that shows the run in a directory now. Never raises for what is in it."""
    try:
        run = run_reader.read_run(resolved(folder))
    except run_reader.NoRun as reason:
        return f"<p>attnmon: {escape(str(reason))}</p>"
    step, pictures = _latest_pictures(run.folder)
    figures = "".join(
        f'<figure style="margin:0"><img src="{uri}" alt="{escape(name)}" '
        f'style="max-width:100%;height:auto"></figure>'
        for name, uri in pictures.items()
    )
    shown = f", pictures of step {step:,}" if pictures else ", no picture yet"
    grid = "display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:8px"
    return f'<p>{escape(_headline(run) + shown)}</p><div style="{grid}">{figures}</div>'


def _headline(run: run_reader.Run) -> str:
    written = run.summary.get("written")
    age = f", {ago(time.time() - written)} ago" if written else ""
    captured = counted(run.summary.get("captured", 0), "capture")
    return f"attnmon: {run.folder}: {run.state}{age}, {captured}"


def _latest_pictures(folder: Path) -> tuple[int, dict[str, str]]:
    """Return the latest step that has pictures that can be read, and those as data URIs."""
    damages: list[str] = []
    pictured = PicturedSteps(folder, damages)
    for step, name in reversed(pictured.steps):
        found = dict(list(pictured.load(step, name).items())[:MOST_PICTURES])
        if uris := data_uris(found, damages):
            return step, uris
    return 0, {}
