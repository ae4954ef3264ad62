"""Reads the files of a run with readers that are not attnmon's."""

import json
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def files_in(folder: Path) -> set[str]:
    """Returns the relative paths of all files below; of an event file only its fixed prefix."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {_without_suffix(name) for name in names}


def _without_suffix(name: str) -> str:
    head, found, _ = name.partition("events.out.tfevents")
    return head + found if found else name


def strict_json(text: str) -> Any:
    """Parses JSON. Raises ValueError for NaN and Infinity, which are no JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def history(folder: Path) -> list[Any]:
    return [strict_json(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def summary(folder: Path) -> Any:
    return strict_json((folder / "summary.json").read_text())


def tensorboard(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    return events


def check_outputs(folder: Path) -> None:
    """Asserts that every file parses, none is half written, and the accounts add up."""
    for path in folder.rglob("*.json"):
        strict_json(path.read_text())
    if (folder / "history.jsonl").exists():
        history(folder)
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
    assert not list(folder.rglob("*.tmp")), "a temporary file was left"
    accounts = summary(folder)
    assert accounts["state"] in ("closed", "trainer lost")
    settled = accounts["rendered"] + accounts["dropped"] + accounts["failed"]
    assert accounts["captured"] == settled, accounts
    assert accounts["pids"] == []
