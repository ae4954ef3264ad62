"""The maps of every step of a run, made as small as a report has room for."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnmon.link.records.alert import Alert
from attnmon.link.records.attention_record import Stack
from attnmon_renderer.inlined_answers import InlinedAnswers
from attnmon_renderer.maps.map_blocks import MapBlock, map_block
from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.report.stored_pictures import StepKey
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.records import recorded_layers

MOST_STEPS = 400
SIDES = (1024, 512, 256, 128, 96, 64, 48, 32, 24, 16)
"""Cells a side that are tried, until all steps fit."""
MOST_TOKENS = 1024
"""Of a stack: of a longer text, a map is pooled so much that none could be named."""
_BASE64 = 4 / 3
_TRIED = 3
"""Captures from which it is estimated how much all take."""
_AT_A_TIME = 16
"""Captures that are read before it is looked whether they fit."""


@dataclass(frozen=True, slots=True)
class StepMaps:
    """The maps of one capture."""

    metadata: dict[str, Any]
    """Its step, epoch and loss, as in `statistics.json`."""
    tokens: Mapping[Stack, tuple[str, ...]]
    layers: list[MapBlock]

    @property
    def size(self) -> float:
        """Characters of the codes in the document, about."""
        return sum(len(block.content) + len(block.allowed) for block in self.layers) * _BASE64


@dataclass(frozen=True, slots=True)
class ReportMaps:
    """The maps in a report."""

    steps: list[StepMaps] = field(default_factory=list)
    side: int | None = None
    """The most cells a side, where they were pooled for this file; None where none was."""
    found: int = 0
    """Steps that have maps, shown or not."""


def gather_maps(
    run: Path,
    steps: Sequence[StepKey],
    most_bytes: int,
    damages: list[str],
    choose: Callable[[Sequence[StepKey], int], list[StepKey]],
) -> ReportMaps:
    """Return the maps of all steps, pooled so far that they fit; else of those `choose` gives.

    damages: takes a line for each thing that is left out.
    """
    most = MOST_STEPS
    while True:
        chosen = choose(steps, most)
        for side in SIDES:
            tried = choose(chosen, _TRIED)
            share = most_bytes * len(tried) // max(1, len(chosen))
            told: list[str] = []
            if _read_all(run, tried, side, share, []) is None:
                continue
            found = _read_all(run, chosen, side, most_bytes, told)
            if found is not None:
                damages += told
                return ReportMaps(found, _pooled_to(found, side), len(steps))
        if len(chosen) <= 1:
            return ReportMaps(found=len(steps))
        most = len(chosen) * 3 // 4


def _pooled_to(steps: Sequence[StepMaps], side: int) -> int | None:
    """Return the most cells a side, None where no map was pooled."""
    is_pooled = any(block.is_pooled for step in steps for block in step.layers)
    return side if is_pooled else None


def _read_all(
    run: Path, steps: Sequence[StepKey], side: int, most: int, damages: list[str]
) -> list[StepMaps] | None:
    """Return the maps of these steps that can be read; None if they take more than `most` bytes."""

    def read(key: StepKey) -> tuple[StepMaps, list[str]]:
        told: list[str] = []
        return _read(run, key, side, told), told

    found: list[StepMaps] = []
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        for first in range(0, len(steps), _AT_A_TIME):
            for step, told in pool.map(read, steps[first : first + _AT_A_TIME]):
                damages += told
                found += [step] if step.layers else []
            if sum(step.size for step in found) > most:
                return None
    return found


def _read(run: Path, key: StepKey, side: int, damages: list[str]) -> StepMaps:
    path = run / key[1] / paths.MAPS
    metadata: dict[str, Any] = {"step": key[0]}
    tokens: Mapping[Stack, tuple[str, ...]] = {}
    layers: list[MapBlock] = []
    try:
        with open_maps(path) as maps:
            about = maps.metadata
            damages += (f"{path}: {damage}" for damage in about.damages)
            metadata |= {"epoch": about.epoch, "loss": about.loss}
            tokens = {
                stack: known for stack, known in about.tokens.items() if len(known) <= MOST_TOKENS
            }
            layers.extend(map_block(maps, layer, side) for layer in about.layers.values())
    except BadMaps as error:
        damages.append(f"{error}; its maps are left out")
    except OSError as error:
        damages.append(f"{path} is left out: {error}")
    return StepMaps(metadata, tokens, layers)


def page_answers(
    maps: ReportMaps, history: Sequence[dict[str, Any]], alerts: Sequence[Alert]
) -> InlinedAnswers:
    """Return what the live page is told of this run, whose captures are these steps."""
    answers = InlinedAnswers()
    for step in maps.steps:
        answers.add_capture("run", step.metadata, step.tokens, step.layers)
    steps = {step.metadata["step"] for step in maps.steps}
    rows = [_history_row(each) for each in history if each["metadata"]["step"] in steps]
    answers.add_run("run", "run", "\n".join(rows), alerts)
    return answers


def _history_row(capture: Mapping[str, Any]) -> str:
    """Return a capture's line, with as many digits of what its heads do as curves show."""
    line: dict[str, Any] = {"metadata": capture["metadata"], "encoder": [], "decoder": []}
    for stack, row in recorded_layers(capture):
        heads: dict[str, Any] = {
            name: [None if value is None else float(f"{value:.4g}") for value in values]
            for name, values in (row.get("heads") or {}).items()
        }
        named = ("layer", "type", "head_indices")
        line[stack].append({**{name: row.get(name) for name in named}, "heads": heads})
    return to_json(line)
