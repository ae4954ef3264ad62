"""What a run's directory holds, for its report."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from attnmon_renderer.sinks.history import read_history
from attnmon_renderer.storage import paths as layout
from attnmon_renderer.storage.run_reader import Run, read_run

SUFFIXES = {".png": "image/png", ".svg": "image/svg+xml"}
"""What browsers show as a picture; a PDF they do not."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, or a member of a zip file."""

    path: Path
    suffix: str
    size: int
    member: str = ""

    def read(self) -> bytes:
        """Raises OSError, or BadZipFile."""
        if not self.member:
            return self.path.read_bytes()
        with ZipFile(self.path) as pack:
            return pack.read(self.member)


@dataclass(frozen=True, slots=True)
class Step:
    """A step that has pictures."""

    number: int
    folder: str
    pictures: dict[str, Picture]
    """By its name, such as "decoder_layer0_cross_attn"."""
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
    return sum(picture.size for picture in step.pictures.values())


def _steps(folder: Path, lines: dict[int, dict[str, Any]]) -> Iterator[Step]:
    for below in folder.glob("*step_*"):
        name = below.name.removesuffix(layout.PACKED)
        number = layout.step_of(name)
        if number is None:
            continue
        found = _packed(below) if below.name != name else _files(below)
        pictures = {Path(name).stem: picture for name, picture in sorted(found.items())}
        if pictures:
            yield Step(number, name, pictures, lines.get(number, {}).get("metadata", {}))


def _files(folder: Path) -> dict[str, Picture]:
    paths = (path for path in folder.iterdir() if path.suffix in SUFFIXES)
    return {path.name: Picture(path, path.suffix, path.stat().st_size) for path in paths}


def _packed(path: Path) -> dict[str, Picture]:
    try:
        with ZipFile(path) as pack:
            members = [(info, Path(info.filename).suffix) for info in pack.infolist()]
    except (OSError, BadZipFile):
        return {}
    return {
        info.filename: Picture(path, suffix, info.file_size, info.filename)
        for info, suffix in members
        if suffix in SUFFIXES
    }
