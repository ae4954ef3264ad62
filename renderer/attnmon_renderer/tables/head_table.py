"""The rows of the table: one for each head of each capture of each run."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attnmon_renderer.storage import paths, records
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.run_reader import NoRun, find_runs

Row = dict[str, Any]

TEXTS = ("run", "directory", "host", "config", "role", "name", "source", "note")
WHOLE_NUMBERS = ("step", "epoch", "layer", "head", "heads", "queries", "keys")
NUMBERS = (
    "loss", "lr", "grad_norm", "timestamp", "layer_mean", "layer_std", "layer_min", "layer_max",
    "entropy", "effective_keys", "max_logit", "first_token", "distance", "diagonal", "coverage",
    "largest_key", "row_residual", "padding_mass", "future_mass",
)  # fmt: skip
COLUMNS = (*TEXTS, *WHOLE_NUMBERS, *NUMBERS)
"""Every column; what a run does not know is empty."""
_OF_LAYER = ("mean", "std", "min", "max")
_OF_CAPTURE = ("step", "epoch", "loss", "lr", "grad_norm", "timestamp")


def runs_to_read(folders: Sequence[Path]) -> list[Path]:
    """Return the runs in and below directories, each once. Raises `NoRun` where there is none."""
    found = list(dict.fromkeys(run for folder in folders for run in find_runs(folder)))
    if not found:
        raise NoRun(f"no run in {', '.join(map(str, folders))}: give monitors' save_dirs")
    return found


def rows_of_run(run: Path) -> Iterator[Row]:
    """Yield the rows of one run, in the order of its history."""
    about = _about_run(run)
    with HistoryFile(run / "history.jsonl", []) as file:
        for line in file.lines():
            if (capture := records.read_capture(line.content)) is not None:
                yield from _rows_of_capture(capture, about)


def _about_run(run: Path) -> Row:
    try:
        described = records.read_run_description(run / "run.json")
    except (OSError, ValueError):
        described = {}
    config = described.get("config")
    return {
        "run": described.get("id", run.name),
        "directory": shown_place(run),
        "host": described.get("host"),
        "config": None if config is None else json.dumps(config, sort_keys=True),
    }


def _rows_of_capture(capture: dict[str, Any], about: Row) -> Iterator[Row]:
    metadata = capture["metadata"]
    of_capture = {**about, **{name: metadata.get(name) for name in _OF_CAPTURE}}
    for stack, layer in records.recorded_layers(capture):
        yield from _rows_of_layer(layer, stack, of_capture)


def _rows_of_layer(layer: dict[str, Any], stack: str, of_capture: Row) -> Iterator[Row]:
    heads, queries, keys = layer.get("shape") or (None, None, None)
    of_layer = {
        **of_capture,
        "role": paths.role(stack, layer["type"]), "layer": layer["layer"],
        "heads": heads, "queries": queries, "keys": keys,
        **{name: layer.get(name) for name in ("name", "source", "note")},
        **{f"layer_{name}": layer.get(name) for name in _OF_LAYER},
    }  # fmt: skip
    values = layer.get("heads") or {}
    numbers = layer.get("head_indices") or range(max(map(len, values.values()), default=0))
    for index, head in enumerate(numbers):
        own = {
            name: listed[index]
            for name, listed in values.items()
            if name in NUMBERS and index < len(listed)
        }
        yield {**of_layer, "head": head, **own}
