"""Writes the pictures that span the captures of a run, and grow in the order of recording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnmon_renderer.results import AnimationFrame, Results
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.records import read_history


class Animations:
    """`animations/decoder_layer0_cross_attn.png` (APNG): a file per layer, a frame per capture."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, results: Results) -> None:
        """Append this capture's frames. Raises OSError.

        Retained captures are left out: they are older than the last frame.
        """
        if results.retained:
            return
        for frame in results.frames:
            self._extend(self._folder / f"{frame.stem}.png", frame)

    def _extend(self, path: Path, frame: AnimationFrame) -> None:
        from attnmon_renderer import drawing

        try:
            before = regular_files.read(path)
        except FileNotFoundError:
            before = b""
        page = drawing.heatmap(frame.heatmap())
        atomic_files.replace(path, drawing.append_frame(before, page).data)


class Timeline:
    """`timeline.png`: entropy of all heads over the steps, layer by layer, the loss beneath."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "timeline.png"
        self._entries = TimelineEntries()
        for line in read_history(folder / "history.jsonl").lines:
            self._entries.add(_from_json(line))

    def write(self, results: Results) -> None:
        """Draw the timeline again, with this capture added. Raises OSError."""
        from attnmon_renderer import drawing

        self._entries.add(_from_results(results))
        page = drawing.timeline(self._entries.picture())
        atomic_files.replace(self._path, drawing.render_png(page).data)


MOST_ENTRIES = 2000
"""Steps in a timeline."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """What a timeline needs of one capture."""

    step: int
    loss: float | None
    entropies: dict[str, Sequence[float | None]]
    """A value per head, by the layer's name; None or NaN where nothing is defined."""


class TimelineEntries:
    """The latest entry of each step; of very many steps every second is left out.

    What a capture costs does not grow with the run, and a picture has no more columns.
    """

    def __init__(self) -> None:
        self._latest: dict[int, TimelineEntry] = {}
        self._steps: set[int] = set()
        """All steps, also those left out."""

    def add(self, entry: TimelineEntry) -> None:
        """Add a capture, in place of an earlier one of its step."""
        self._steps.add(entry.step)
        self._latest[entry.step] = entry
        if len(self._latest) > MOST_ENTRIES:
            last = max(self._latest)
            kept = {*sorted(self._latest)[::2], last}
            self._latest = {step: entry for step, entry in self._latest.items() if step in kept}

    def picture(self) -> Any:
        """Return the timeline of what was added, which is something."""
        from attnmon_renderer.drawing import Caption, TimelineData
        from attnmon_renderer.figures.captions import ENTROPY

        ordered = [self._latest[step] for step in sorted(self._latest)]
        names = list(dict.fromkeys(name for entry in ordered for name in entry.entropies))
        run = f"{len(self._steps)} captures to step {ordered[-1].step:,}"
        return TimelineData(
            caption=Caption("attention entropy over the training", run),
            statistic=ENTROPY,
            steps=[entry.step for entry in ordered],
            layers=tuple((name, _numbers(name, ordered)) for name in names),
            losses=[entry.loss for entry in ordered],
            low=0.0,
            high=1.0,
        )


def timeline_picture(history: Sequence[dict[str, Any]]) -> Any:
    """Return the timeline of these lines of `history.jsonl`, of which there is at least one."""
    entries = TimelineEntries()
    for line in history:
        entries.add(_from_json(line))
    return entries.picture()


def _from_json(line: dict[str, Any]) -> TimelineEntry:
    entropies = {
        _layer_name(stack, row["layer"], row["type"]): (row.get("heads") or {}).get("entropy", [])
        for stack in ("encoder", "decoder")
        for row in line[stack]
    }
    return TimelineEntry(line["metadata"]["step"], line["metadata"].get("loss"), entropies)


def _from_results(results: Results) -> TimelineEntry:
    entropies: dict[str, Sequence[float | None]] = {
        _layer_name(row.stack, row.layer, row.type): row.statistics.heads["entropy"]
        for row in sorted(results.layers, key=lambda row: row.stack == "decoder")
    }
    return TimelineEntry(results.step, results.loss, entropies)


def _layer_name(stack: str, layer: int, type_: str) -> str:
    """ "decoder 0 cross" """
    return f"{stack} {layer} {type_.partition('_')[0]}"


def _numbers(name: str, entries: Sequence[TimelineEntry]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return one layer's entropies, [captures, heads]; NaN where there is no number."""
    heads = max(len(entry.entropies.get(name, ())) for entry in entries)
    numbers = np.full((len(entries), heads), np.nan)
    for row, entry in zip(numbers, entries, strict=True):
        values = entry.entropies.get(name, ())
        row[: len(values)] = [np.nan if value is None else value for value in values]
    return numbers
