"""Checks after a training: it ran as without a monitor, and nothing was lost or left behind.

Files are read with independent readers: Pillow, json, safetensors, and TensorBoard where it is
installed. Each check yields a sentence for each violation.
"""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open

from chaoslib.processes import wait_until
from chaoslib.training import EXIT_CODE

ENDS = ("closed", "trainer lost")
SETTLED = ("rendered", "dropped", "failed")
MOST_WARNINGS = 3
OTHERS_SECONDS = 20.0
"""Seconds in which the files of other processes on this machine may disappear."""


@dataclass(frozen=True)
class Ended:
    """A training that has ended."""

    pid: int
    code: int | None
    """Exit code; negative after a signal."""
    output: str
    """Its standard output and standard error."""
    first_line: int
    """Lines in the history before it started."""

    @property
    def was_killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def finished(self) -> bool:
        return self.code == EXIT_CODE


def progress(folder: Path) -> list[tuple[int, str, int]]:
    """Returns (step, loss, captures so far) of each complete line."""
    try:
        lines = (folder / "progress.txt").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    rows = [line.split() for line in lines]
    return [(int(row[0]), row[1], int(row[2])) for row in rows if len(row) == 3]


def ending(ended: Ended, folder: Path, expected: Path) -> Iterator[str]:
    """Check exit code and output, and that losses and parameters are as without a monitor."""
    if not ended.finished and not ended.was_killed:
        yield f"it ended with {ended.code}, not {EXIT_CODE}: {ended.output[-500:]}"
    elif "Traceback" in ended.output or ended.output.count("\n") > MOST_WARNINGS:
        yield f"it said more than a few warnings: {ended.output[-500:]}"
    losses = {step: loss for step, loss, _ in progress(expected)}
    made = progress(folder)
    for step, loss, _ in made:
        if losses[step] != loss:
            yield f"step {step} has loss {loss}, not {losses[step]}"
    if ended.finished:
        if missing := losses.keys() - {step for step, _, _ in made}:
            yield f"steps {sorted(missing)[:5]} were not made"
        results = [_json(path / "result.json") for path in (folder, expected)]
        if results[0]["digest"] != results[1]["digest"]:
            yield "the parameters or the random state differ at the end"
        figures = results[0]["accounts"]
        if figures["captured"] != sum(figures[name] for name in (*SETTLED, "pending")):
            yield f"close() returned {_figures(figures)}"


def renderer(ended: Ended, folder: Path, save_dir: Path) -> Iterator[str]:
    """Check that the renderer did not end by itself, and that its counts are correct."""
    if "has gone" in ended.output:
        yield f"the renderer was lost by itself: {ended.output[-500:]}"
    made = progress(folder)
    yield from chain(
        accounts(save_dir, ended.pid, made[-1][2] if made else 0),
        captures(save_dir, ended.first_line),
    )


def accounts(save_dir: Path, trainer: int, at_least: int) -> Iterator[str]:
    """Check that the summary is this training's final one and accounts for every capture."""
    try:
        summary = _json(save_dir / "summary.json")
    except FileNotFoundError:
        summary = {"trainer_pid": None}
    if summary["trainer_pid"] != trainer:
        if at_least:
            yield f"no summary, but {at_least} captures were made"
        return
    settled = sum(summary[name] for name in SETTLED)
    if summary["captured"] != settled or summary["captured"] < at_least:
        yield f"{at_least} captures were made; the summary says {_figures(summary)}"
    if summary["state"] not in ENDS or summary["pids"]:
        yield f"the summary's state is {summary['state']!r}, its processes {summary['pids']}"


def files(save_dir: Path) -> Iterator[str]:
    """Check that every file is complete and no temporary file is left."""
    readers = {".png": _read_png, ".json": _json, ".safetensors": _read_raw}
    for path in save_dir.rglob("*"):
        if path.suffix == ".tmp":
            yield f"left: {path.relative_to(save_dir)}"
        elif path.suffix in readers:
            try:
                readers[path.suffix](path)
            except (OSError, ValueError, SyntaxError, SafetensorError) as error:
                yield f"{path.relative_to(save_dir)}: {error}"


def left_behind(temporary: Path) -> Iterator[str]:
    """Check for leftover temporary files and shared memory; those of others get time to go."""

    def left() -> list[str]:
        files = [path.name for path in temporary.glob("attnmon*")]
        segments = os.listdir("/dev/shm")
        return files + [name for name in segments if name.startswith(("attnmon", "psm_"))]

    if not wait_until(lambda: not left(), OTHERS_SECONDS):
        yield f"left behind: {left()}"


def captures(save_dir: Path, first_line: int) -> Iterator[str]:
    """Check that each line of the history parses and each rendered capture has all its files.

    A capture that failed after its line was written has a line, too.
    """
    steps = []
    for line in history(save_dir)[first_line:]:
        try:
            steps.append(json.loads(line)["metadata"]["step"])
        except ValueError:
            yield f"no JSON in the history: {line[:80]}"
    recorded = _steps_in_tensorboard(save_dir / "tensorboard")
    whole = [step for step in steps if _is_whole(save_dir / f"step_{step}") and step in recorded]
    rendered = _json(save_dir / "summary.json")["rendered"]
    if len(whole) < rendered:
        yield f"{rendered} count as rendered, and {len(whole)} are there: {sorted(whole)}"
    if len(set(steps)) < len(steps):
        yield f"steps are there twice: {steps}"


def history(save_dir: Path) -> list[str]:
    path = save_dir / "history.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def _is_whole(folder: Path) -> bool:
    return folder.is_dir() and {path.name for path in folder.iterdir()} >= _EXPECTED


class AllSteps:
    """Contains every step; used where TensorBoard is not installed to read its events."""

    def __contains__(self, step: int) -> bool:
        return True


_LAYERS = ("encoder_layer0_self_attn", "decoder_layer0_self_attn", "decoder_layer0_cross_attn")
_EXPECTED = {f"{layer}{kind}.png" for layer in _LAYERS for kind in ("", "_heads")} | {
    "statistics.json",
    "attention_weights.safetensors",
}


def _steps_in_tensorboard(folder: Path) -> set[int] | AllSteps:
    try:
        loader = import_module("tensorboard.backend.event_processing.event_file_loader")
    except ImportError:
        return AllSteps()
    files = sorted(folder.glob("events*"))
    events = (event for path in files for event in loader.EventFileLoader(str(path)).Load())
    return {event.step for event in events if event.summary.value}


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _read_png(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _read_raw(path: Path) -> None:
    with safe_open(path, "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - it is no dict
            file.get_tensor(name)


def _figures(summary: dict[str, Any]) -> str:
    return ", ".join(f"{summary[name]} {name}" for name in ("captured", *SETTLED))
