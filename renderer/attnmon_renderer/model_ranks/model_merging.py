"""Merges the runs of a model's parts into one run, as they grow."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from attnmon_renderer.model_ranks.layer_places import (
    LayerRow,
    LocalLayer,
    layer_numbers,
    rows_of,
)
from attnmon_renderer.model_ranks.map_merging import MapMerging
from attnmon_renderer.model_ranks.merged_accounts import merged_summary
from attnmon_renderer.model_ranks.rank_file import ModelRank, describe_place, model_ranks
from attnmon_renderer.model_ranks.rank_history import RankHistory
from attnmon_renderer.model_ranks.record_merging import Key, Record, RecordMerging
from attnmon_renderer.model_ranks.waiting_steps import WaitingSteps
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.storage import atomic_files, paths, regular_files
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.run_reader import ENDED, NoRun, Run, read_run


class ModelMerging:
    """Merges what is new of a model's parts into one run.

    Args:
        folder: the directory above the parts' runs.
        target: directory of the merged run.
    """

    def __init__(
        self,
        folder: Path,
        target: Path,
        clock: Callable[[], float] = time.monotonic,
        *,
        with_maps: bool = True,
    ) -> None:
        self._folder = folder
        self._target = target
        self._clock = clock
        self._with_maps = with_maps
        self._ranks: dict[Key, ModelRank] = {}
        self._runs: dict[Key, Run] = {}
        self._expected: set[Key] = set()
        self._histories: dict[Key, RankHistory] = {}
        self._steps: WaitingSteps | None = None
        self._records = RecordMerging()
        self._maps = MapMerging()
        self._rows: dict[LayerRow, None] = {}
        self._numbers: dict[LocalLayer, int] = {}
        self._captured = 0
        self._last: tuple[int, set[Key]] | None = None
        """The last step that is merged, and of which processes that is."""
        self._written: dict[str, str] = {}
        """What the accounts said last, by the file's name."""

    def update(self) -> None:
        """Merge what is new. Raises `NoRun` where no part can be read."""
        self._look_for_ranks()
        alive = {key for key, run in self._runs.items() if not run.has_ended}
        assert self._steps is not None
        while self._read_block():
            self._merge(self._steps, alive)
        self._merge(self._steps, alive)
        self._write_accounts()

    def _look_for_ranks(self) -> None:
        self._ranks = {rank.key: rank for rank in model_ranks(self._folder)}
        if not self._ranks:
            raise NoRun(f"{shown_place(self._folder)} holds no runs of a split model")
        found = {key: _run(rank) for key, rank in self._ranks.items()}
        self._runs = {key: run for key, run in found.items() if run is not None}
        if not self._runs:
            raise NoRun(
                f"{shown_place(self._folder)}: no process of the split model has a summary.json yet"
            )
        for key, rank in self._ranks.items():
            if key not in self._histories:
                self._histories[key] = RankHistory(rank.folder / "history.jsonl")
        if self._steps is None:
            place = next(iter(self._ranks.values())).place
            self._expected = {(stage, tensor) for stage in range(place.pipeline[1])
                              for tensor in range(place.tensor[1])}  # fmt: skip
            self._records.tensor_ranks = self._maps.tensor_ranks = place.tensor[1]
            self._steps = WaitingSteps(self._expected, self._histories, self._clock)

    def _read_block(self) -> bool:
        """Read more of the process that is most behind; return whether there was any."""
        assert self._steps is not None
        behind = sorted(self._histories, key=lambda key: self._histories[key].last_step or 0)
        for key in behind:
            if found := self._histories[key].next_block():
                self._steps.add(key, found)
                self._note_layers(row for each in found for row, _ in rows_of(each.record, key[0]))
                return True
        return False

    def _note_layers(self, rows: Iterable[LayerRow]) -> None:
        known = len(self._rows)
        self._rows |= dict.fromkeys(rows)
        if len(self._rows) > known:
            self._numbers = layer_numbers(self._rows)

    def _merge(self, steps: WaitingSteps, alive: Collection[Key]) -> None:
        descriptor = atomic_files.open_to_append(self._target / "history.jsonl")
        with os.fdopen(descriptor, "ab") as file:
            for step, records, is_first in steps.pop_due(alive):
                file.write(self._merged(step, records).encode() + b"\n")
                self._captured += is_first
                if self._last is None or step >= self._last[0]:
                    self._last = step, set(records)

    def _merged(self, step: int, records: dict[Key, Record]) -> str:
        silent = {key: self._why_missing(key, step) for key in self._expected - set(records)}
        name = f"step_{step}"
        if self._with_maps:
            folders = {key: self._ranks[key].folder / name for key in records if key in self._ranks}
            maps = self._maps.merged(folders, self._numbers, silent)
            if maps is not None:
                atomic_files.replace(self._target / name / paths.MAPS, maps)
        return to_json(self._records.merged(records, self._numbers, silent))

    def _why_missing(self, key: Key, step: int) -> str:
        """Return what is said of a process that has no record of a step."""
        if key not in self._ranks or key not in self._runs:
            return f"{describe_place(*key)} has not begun"
        last, name = self._histories[key].last_step, self._ranks[key].describe()
        if last is None:
            why = "is silent from the beginning"
        elif last > step:
            return f"{name} has no record of step {step:,}"
        else:
            why = f"is silent since step {last:,}"
        state = self._runs[key].state
        return f"{name} {why}" + (f" ({state})" if state in ENDED and state != "closed" else "")

    def _write_accounts(self) -> None:
        step, there = self._last or (None, self._expected)
        behind = sorted(self._expected - there)
        summary = merged_summary([self._runs[key] for key in sorted(self._runs)])
        summary |= {
            "captured": self._captured, "rendered": self._captured, "last_step": step,
            "warnings": [self._why_missing(key, step or 0) for key in behind],
        }  # fmt: skip
        self._write("summary.json", summary)
        self._write_description()

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of the merged run, if it is to say anything new."""
        text = to_json(content, 2)
        if self._written.get(name) != text:
            atomic_files.replace(self._target / name, text.encode())
            self._written[name] = text

    def _write_description(self) -> None:
        try:
            described = regular_files.read(self._ranks[min(self._ranks)].folder / "run.json")
            content = json.loads(described)
        except (OSError, ValueError):
            return
        content |= {"id": f"{content.get('id', '')}-model", "layers": list(self._layers())}
        self._write("run.json", content)

    def _layers(self) -> Iterator[dict[str, Any]]:
        names = {(row.role, self._numbers[row.stage, row.role, row.number]): row.name
                 for row in self._rows}  # fmt: skip
        for (role, number), name in sorted(names.items()):
            yield {"role": paths.role(*role), "layer": number, "module": name}


def _run(rank: ModelRank) -> Run | None:
    try:
        return read_run(rank.folder)
    except NoRun:
        return None
