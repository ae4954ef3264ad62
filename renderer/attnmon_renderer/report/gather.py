"""Gathers from a run's directory what its report shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.alert_log import read_alerts
from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.report.capture_facts import CaptureFacts, scan_history
from attnmon_renderer.report.map_steps import ReportMaps, gather_maps
from attnmon_renderer.report.stored_pictures import PicturedSteps, StepKey, StoredPicture
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.run_reader import Run, read_run

MOST_POINTS = 600
"""Captures that are read, and drawn as curves."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ReportStep:
    """A captured step with its pictures."""

    number: int
    """The step as the training counts it."""
    folder: str
    """Name of its folder, such as "epoch_1_step_500"."""
    pictures: dict[str, StoredPicture]
    """By name, such as "decoder_layer0_cross_attn"."""
    metadata: dict[str, Any]
    """Metadata of the capture, as in `statistics.json`; empty if the history has no such step."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything of a run that its report shows."""

    run: Run
    history: list[dict[str, Any]]
    """Captures in step order, of very many `MOST_POINTS` that are evenly spaced."""
    facts: list[CaptureFacts]
    """Of every capture, in step order; of a step that was captured again, of the last."""
    steps: list[ReportStep]
    """Steps whose pictures are shown, in step order."""
    steps_with_pictures: int
    """Number of steps that have pictures, shown or not."""
    pdfs: int
    """Number of pictures that are not shown because they are PDF files."""
    maps: ReportMaps = field(default_factory=ReportMaps)
    """Of every step: what they show is not shown again as pictures."""
    damages: list[str] = field(default_factory=list)
    """A line for each thing that is damaged and left out; grows as the pictures are read."""
    alerts: list[Alert] = field(default_factory=list)
    """Those of the rules, each in its last state."""


def gather_report_data(
    folder: Path, pictures: Path, most_steps: int, most_bytes: int
) -> ReportData:
    """Read a run, with the pictures below `pictures` of evenly spaced steps within both limits.

    Raises:
        NoRun: there is no run in `folder`.
    """
    run = read_run(folder)
    damages = [*run.damages]
    pictured = PicturedSteps(pictures, damages)
    own = pictured if pictures == folder else PicturedSteps(folder, [])
    with HistoryFile(folder / "history.jsonl", damages) as file:
        facts = scan_history(file)
        read = [file.read(capture.place) for capture in evenly_spaced(facts, MOST_POINTS)]
        file.tell_left_out(read.count(None))
        places = {capture.step: capture.place for capture in facts}

        def load(key: StepKey) -> ReportStep:
            capture = file.read(places[key[0]]) if key[0] in places else None
            shown = pictured.load(*key)
            if own is pictured and key in own.mapped:
                shown = _without_mapped(shown, folder / key[1])
            return ReportStep(*key, shown, (capture or {}).get("metadata", {}))

        shown = load_steps(pictured.steps, load, most_steps, most_bytes // 2)
    room = most_bytes - sum(map(_picture_bytes, shown))
    maps = gather_maps(folder, list(own.mapped), room, damages, evenly_spaced)
    history = [capture for capture in read if capture is not None]
    steps = len(pictured.steps)
    alerts = read_alerts(folder)
    return ReportData(run, history, facts, shown, steps, pictured.pdfs, maps, damages, alerts)


def _without_mapped(pictures: dict[str, StoredPicture], folder: Path) -> dict[str, StoredPicture]:
    """Return the pictures that show more than the maps of the same step do."""
    try:
        with open_maps(folder / paths.MAPS) as maps:
            stems = maps.metadata.layers.keys()
    except (BadMaps, OSError):
        return pictures
    drawn = {
        paths.STEP_FIGURES[kind].format(layer=stem)
        for kind in ("heatmap", "multi_head")
        for stem in stems
    }
    return {name: picture for name, picture in pictures.items() if name not in drawn}


def load_steps(
    steps: list[StepKey], load: Callable[[StepKey], ReportStep], most: int, most_bytes: int
) -> list[ReportStep]:
    """Load at most `most` evenly spaced steps, fewer if their pictures exceed `most_bytes`."""
    loaded: dict[StepKey, ReportStep] = {}
    count = min(most, len(steps))
    while True:
        chosen = evenly_spaced(steps, count)
        loaded |= {key: load(key) for key in chosen if key not in loaded}
        shown = [loaded[key] for key in chosen]
        if count <= 1 or sum(map(_picture_bytes, shown)) <= most_bytes:
            return [step for step in shown if step.pictures]
        count = count * 3 // 4


def evenly_spaced(items: Sequence[_Item], most: int) -> list[_Item]:
    """Returns at most `most` items, with the first and the last; of one, the last."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return list(items[-1:])
    last = len(items) - 1
    return [items[round(position * last / (most - 1))] for position in range(most)]


def _picture_bytes(step: ReportStep) -> int:
    return sum(picture.size for picture in step.pictures.values())
