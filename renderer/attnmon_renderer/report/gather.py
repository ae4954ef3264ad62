"""Gathers from a run's directory what its report shows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnmon_renderer.report.stored_pictures import StoredPicture, pictures_by_step
from attnmon_renderer.storage.records import read_history
from attnmon_renderer.storage.run_reader import Run, read_run


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
    """One line a capture, in step order; of a step that was captured again, the last."""
    steps: list[ReportStep]
    """Steps whose pictures are shown, in step order."""
    steps_with_pictures: int
    """Number of steps that have pictures, shown or not."""
    pdfs: int
    """Number of pictures that are not shown because they are PDF files."""
    damages: list[str] = field(default_factory=list)
    """A line for each thing that is damaged and left out; grows as the pictures are read."""


def gather_report_data(
    folder: Path, pictures: Path, most_steps: int, most_bytes: int
) -> ReportData:
    """Read a run, with the pictures below `pictures` of evenly spaced steps within both limits.

    Raises:
        NoRun: there is no run in `folder`.
    """
    run = read_run(folder)
    captures, damages = read_history(folder / "history.jsonl")
    lines = {capture["metadata"]["step"]: capture for capture in captures}
    history = [lines[step] for step in sorted(lines)]
    found, pdfs, damaged_packs = pictures_by_step(pictures)
    steps = [
        ReportStep(number, name, found[number, name], lines.get(number, {}).get("metadata", {}))
        for number, name in sorted(found)
    ]
    shown = limit_steps(steps, most_steps, most_bytes)
    damaged = [*run.damages, *damages, *damaged_packs]
    return ReportData(run, history, shown, len(steps), pdfs, damaged)


def limit_steps(steps: list[ReportStep], most: int, most_bytes: int) -> list[ReportStep]:
    """Returns at most `most` evenly spaced steps, fewer if their pictures exceed `most_bytes`."""
    shown = evenly_spaced(steps, most)
    while len(shown) > 1 and sum(map(_picture_bytes, shown)) > most_bytes:
        shown = evenly_spaced(steps, len(shown) * 3 // 4)
    return shown


def evenly_spaced(steps: list[ReportStep], most: int) -> list[ReportStep]:
    """Returns at most `most` steps, with the first and the last; of one, the last."""
    if len(steps) <= most:
        return steps
    if most == 1:
        return steps[-1:]
    last = len(steps) - 1
    return [steps[round(position * last / (most - 1))] for position in range(most)]


def _picture_bytes(step: ReportStep) -> int:
    return sum(picture.size for picture in step.pictures.values())
