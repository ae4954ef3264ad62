"""Gathers from a run's directory what its report shows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from attnmon_renderer.sinks.history import read_history
from attnmon_renderer.storage import paths as layout
from attnmon_renderer.storage.run_reader import Run, read_run

MIME_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
"""MIME types of the pictures that browsers show, by suffix; a PDF is not shown."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture on disk: a file, or a member of a step's zip file."""

    path: Path
    """The picture, or the zip file."""
    suffix: str
    """Of the picture: ".png" or ".svg"."""
    size: int
    """Bytes, uncompressed if in a zip file."""
    member: str = ""
    """Name in the zip file; empty for a file."""

    def read(self) -> bytes:
        """Returns the content.

        Raises:
            OSError: the file cannot be read.
            zipfile.BadZipFile: the zip file is damaged.
        """
        if not self.member:
            return self.path.read_bytes()
        with ZipFile(self.path) as pack:
            return pack.read(self.member)


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


def gather_report_data(
    folder: Path, pictures: Path, most_steps: int, most_bytes: int
) -> ReportData:
    """Read a run, with the pictures below `pictures` of evenly spaced steps within both limits.

    Raises:
        NoRun: there is no run in `folder`.
    """
    run = read_run(folder)
    lines = {entry["metadata"]["step"]: entry for entry in read_history(folder / "history.jsonl")}
    history = [lines[step] for step in sorted(lines)]
    steps = sorted(
        _steps_with_pictures(pictures, lines), key=lambda step: (step.number, step.folder)
    )
    pdfs = sum(1 for _ in pictures.glob("*step_*/*.pdf"))
    return ReportData(run, history, limit_steps(steps, most_steps, most_bytes), len(steps), pdfs)


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


def _steps_with_pictures(folder: Path, lines: dict[int, dict[str, Any]]) -> Iterator[ReportStep]:
    for path in folder.glob("*step_*"):
        name = path.name.removesuffix(layout.PACKED)
        number = layout.step_of(name)
        if number is None:
            continue
        found = _pictures_in_zip(path) if path.name != name else _pictures_in_folder(path)
        pictures = {Path(name).stem: picture for name, picture in sorted(found.items())}
        if pictures:
            yield ReportStep(number, name, pictures, lines.get(number, {}).get("metadata", {}))


def _pictures_in_folder(folder: Path) -> dict[str, StoredPicture]:
    paths = (path for path in folder.iterdir() if path.suffix in MIME_TYPES)
    return {path.name: StoredPicture(path, path.suffix, path.stat().st_size) for path in paths}


def _pictures_in_zip(path: Path) -> dict[str, StoredPicture]:
    try:
        with ZipFile(path) as pack:
            members = [(info, Path(info.filename).suffix) for info in pack.infolist()]
    except (OSError, BadZipFile):
        return {}
    return {
        info.filename: StoredPicture(path, suffix, info.file_size, info.filename)
        for info, suffix in members
        if suffix in MIME_TYPES
    }
