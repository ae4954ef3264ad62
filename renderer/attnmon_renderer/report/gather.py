"""What a run's directory holds, for its report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnmon_renderer import layout
from attnmon_renderer.runs import Run, read_run
from attnmon_renderer.sinks.history import read_history

SUFFIXES = {".png": "image/png", ".svg": "image/svg+xml"}
"""What browsers show as a picture; a PDF they do not."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has pictures."""

    number: int
    folder: str
    pictures: dict[str, Path]
    """By the picture's name, such as "decoder_layer0_cross_attn"."""
    metadata: dict[str, Any]
    """Of the capture, as in `statistics.json`; empty where nothing is known."""


@dataclass(frozen=True, slots=True)
class Findings:
    """All of a run that goes into its report."""

    run: Run
    history: list[dict[str, Any]]
    """One line a capture, in the order of the steps; the latest where a step was captured again."""
    steps: list[Step]
    """Those shown, from the first to the last."""
    steps_there: int
    """How many steps have pictures."""
    pdfs: int
    """Pictures that are left out since they are PDF."""


def gather(folder: Path, pictures: Path, most_steps: int, most_bytes: int) -> Findings:
    """The pictures of at most so many steps and bytes, evenly spaced. Raises `NoRun`."""
    run = read_run(folder)
    lines = {entry["metadata"]["step"]: entry for entry in read_history(folder / "history.jsonl")}
    history = [lines[step] for step in sorted(lines)]
    steps = sorted(_steps(pictures, lines), key=lambda step: (step.number, step.folder))
    pdfs = sum(1 for _ in pictures.glob("*step_*/*.pdf"))
    return Findings(run, history, bounded(steps, most_steps, most_bytes), len(steps), pdfs)


def bounded(steps: list[Step], most: int, most_bytes: int) -> list[Step]:
    """At most so many, evenly spaced, with the first and the last; fewer if they are too large."""
    kept = evenly(steps, most)
    while len(kept) > 1 and sum(map(_bytes, kept)) > most_bytes:
        kept = evenly(steps, len(kept) * 3 // 4)
    return kept


def evenly(steps: list[Step], most: int) -> list[Step]:
    if len(steps) <= most:
        return steps
    if most == 1:
        return steps[-1:]
    last = len(steps) - 1
    return [steps[round(position * last / (most - 1))] for position in range(most)]


def _bytes(step: Step) -> int:
    return sum(path.stat().st_size for path in step.pictures.values())


def _steps(folder: Path, lines: dict[int, dict[str, Any]]) -> Iterator[Step]:
    for below in folder.glob("*step_*"):
        number = layout.step_of(below.name)
        if number is None:
            continue
        pictures = {path.stem: path for path in sorted(below.iterdir()) if path.suffix in SUFFIXES}
        metadata = lines.get(number, {}).get("metadata", {})
        if pictures:
            yield Step(number, below.name, pictures, metadata)
