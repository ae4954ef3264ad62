"""Reads a run as numbers over its captures, however long it is: only what is compared is parsed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.json_fields import number
from attnmon_renderer.storage.records import read_capture, read_run_description, recorded_layers
from attnmon_renderer.storage.run_reader import Run, read_run

OF_LAYERS = ("mean", "std", "min", "max")
"""Statistics of a whole layer."""

# For lines as `sinks.history` writes them; others are parsed as a whole.
_HEAD = re.compile(rb'\{"metadata": \{"step": (-?\d{1,18}), "epoch": [^,]+, "loss": ([^,]+), ')
_KEPT = b'"kept_for": '
_ROWS = b', "encoder": ['
_NONE = np.empty(0)


class LayerName(NamedTuple):
    """A layer, by what it is called in every file."""

    role: str
    """Such as "decoder_cross"."""
    layer: int

    def __str__(self) -> str:
        return f"{self.role.replace('_', ' ')} {self.layer}"


class Block(NamedTuple):
    """The numbers that one statistic gives of a layer: one for each head, or one for all."""

    layer: LayerName
    statistic: str
    heads: tuple[int | None, ...]
    """The heads' numbers in the model; (None,) for a statistic of the layer as a whole."""


@dataclass(frozen=True, slots=True)
class CaptureEntry:
    """A capture in the history, of which the step and the loss are known."""

    step: int
    loss: float | None
    place: int
    """Where its line begins."""


Numbers = dict[Block, Doubles]
"""A capture's numbers; NaN where none is defined."""


class RunSeries:
    """A run that is open to be compared; close it."""

    def __init__(self, folder: Path) -> None:
        """Raises NoRun."""
        self.run: Run = read_run(folder)
        self.folder = folder
        self.damages = list(self.run.damages)
        self.description = self._described()
        self._file = HistoryFile(folder / "history.jsonl", self.damages)
        self.captures = self._index()
        """In step order; of a step that was captured again, the last. Steps that were kept, and
        drawn because training broke, are left out: they are no neighbours of the others."""
        self._numbers: dict[int, Numbers] = {}

    def __enter__(self) -> "RunSeries":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.__exit__()

    def metadata(self, index: int) -> dict[str, Any]:
        """Return what a capture says of itself: step, loss, sample and the like."""
        found: dict[str, Any] = self._capture(index)["metadata"]
        return found

    def layers(self, index: int) -> dict[LayerName, dict[str, Any]]:
        """Return the rows of a capture's layers, by their names."""
        return rows_of(self._capture(index))

    def numbers(self, index: int) -> Numbers:
        """Return all numbers of a capture."""
        if index not in self._numbers:
            self._numbers[index] = numbers_of(self._capture(index))
        return self._numbers[index]

    def heads(self, index: int, layer: LayerName, statistic: str) -> Doubles:
        """Return a statistic of a layer's heads; empty if the capture has none."""
        wanted = (layer, statistic)
        return next((v for block, v in self.numbers(index).items() if block[:2] == wanted), _NONE)

    def matrix(self, indices: Iterable[int], blocks: Sequence[Block]) -> Doubles:
        """Return [captures, numbers], block after block; NaN where a capture has no such number."""
        unknown = {block: np.full(len(block.heads), np.nan) for block in blocks}
        each = (unknown | self.numbers(index) for index in indices)
        return np.array([np.concatenate([found[block] for block in blocks]) for found in each])

    def rows_as_written(self, index: int) -> bytes:
        """Return a capture's rows in the history's own bytes, to be compared with another's."""
        line = self._file.line(self.captures[index].place)
        return line.partition(_ROWS)[2]

    def _capture(self, index: int) -> dict[str, Any]:
        found = self._file.read(self.captures[index].place)
        empty: dict[str, Any] = {"metadata": {"step": self.captures[index].step}}
        return found or {**empty, "encoder": [], "decoder": []}

    def _described(self) -> dict[str, Any]:
        try:
            return read_run_description(self.folder / "run.json")
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.damages.append(f"run.json is left out: {error}")
        return {}

    def _index(self) -> list[CaptureEntry]:
        found: dict[int, CaptureEntry] = {}
        torn = 0
        for line in self._file.lines():
            entry = _entry(line.content, line.place)
            torn += entry is None
            if entry is not None and _KEPT not in line.content.partition(_ROWS)[0]:
                found[entry.step] = entry
        self._file.tell_left_out(torn)
        return [found[step] for step in sorted(found)]


def rows_of(capture: dict[str, Any]) -> dict[LayerName, dict[str, Any]]:
    """Return the rows of a capture's layers, by their names."""
    return {
        LayerName(paths.role(stack, row["type"]), row["layer"]): row
        for stack, row in recorded_layers(capture)
    }


def numbers_of(capture: dict[str, Any]) -> Numbers:
    """Return all numbers of a capture: those of each head, and those of each layer."""
    found: Numbers = {}
    for layer, row in rows_of(capture).items():
        for statistic, values in (row.get("heads") or {}).items():
            found[Block(layer, statistic, head_numbers(row, len(values)))] = _doubles(values)
        for statistic in OF_LAYERS:
            found[Block(layer, statistic, (None,))] = _doubles([row.get(statistic)])
    return found


def head_numbers(row: dict[str, Any], count: int) -> tuple[int, ...]:
    """Return the heads' numbers in the model; of old histories, which do not say, from 0 on."""
    numbers = tuple(row.get("head_indices") or ())
    return numbers if len(numbers) == count else tuple(range(count))


def _doubles(values: Sequence[float | None]) -> Doubles:
    return np.array(values, np.float64)  # None becomes NaN


def _entry(content: bytes, place: int) -> CaptureEntry | None:
    """Return a line's step and loss; None if it is torn, or no capture."""
    head = _HEAD.match(content)
    try:
        if head is not None and content.endswith(b"]}\n"):
            loss = None if head[2] == b"null" else number(float(head[2]))
            return CaptureEntry(int(head[1]), loss, place)
    except ValueError:  # nothing that `sinks.history` writes
        pass
    if (capture := read_capture(content)) is None:
        return None
    metadata = capture["metadata"]
    return CaptureEntry(metadata["step"], metadata.get("loss"), place)
