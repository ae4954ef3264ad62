"""Keeps a temporary run that shows a split model as one, up to date from its parts' runs.

A step is merged when every process has recorded it. One that a process does not record in time is
merged without it, and again should it come after all: no process is waited for.
"""

import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attnmon_renderer.mirror.remote_folders import repeating
from attnmon_renderer.model_ranks.layer_places import LayerRow, layer_numbers, rows_of
from attnmon_renderer.model_ranks.map_merging import merge_maps
from attnmon_renderer.model_ranks.rank_file import ModelRank, describe_place, model_ranks
from attnmon_renderer.model_ranks.record_merging import Key, Record, merge_records
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.storage import atomic_files, paths, regular_files
from attnmon_renderer.storage.records import read_capture
from attnmon_renderer.storage.run_reader import NoRun, Run, read_run

MOST_BYTES = 1 << 26
"""Of each process's history that are read at a time."""
SILENT_SECONDS = 30.0
"""How long a process may be behind the others before a step is shown without it."""


@contextmanager
def merged_copy(folder: Path, *, follow: bool) -> Iterator[Path]:
    """Give a temporary run that shows the whole model whose parts' runs are below a directory.

    Args:
        follow: keep it up to date while the block runs.
    """
    with tempfile.TemporaryDirectory(prefix="attnmon-") as above:
        copy = regular_files.resolved(above) / f"{folder.name}-model"
        merging = ModelMerging(folder, copy)
        merging.update()
        if not follow:
            yield copy
            return

        def update() -> None:
            with suppress(NoRun, OSError):  # next time
                merging.update()

        with repeating(update):
            yield copy


class ModelMerging:
    """Merges what is new of a model's parts into one run.

    Args:
        folder: the directory above the parts' runs.
        target: directory of the merged run.
    """

    def __init__(
        self, folder: Path, target: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._target = target
        self._clock = clock
        self._records: dict[int, dict[Key, Record]] = defaultdict(dict)
        """By step, and by the place of the process."""
        self._first_seen: dict[int, float] = {}
        self._merged: dict[int, frozenset[Key]] = {}
        """Of which processes the merged record of a step is."""
        self._read: dict[Key, int] = {}
        """Bytes of each process's history that are read."""
        self._rows: dict[LayerRow, None] = {}
        self._written: dict[str, str] = {}
        """What the accounts said last, by the file's name."""

    def update(self) -> None:
        """Merge what is new. Raises `NoRun` where no part can be read."""
        ranks = {rank.key: rank for rank in model_ranks(self._folder)}
        if not ranks:
            raise NoRun(f"{self._folder} holds no runs of a split model")
        runs = {key: run for key, rank in ranks.items() if (run := _run(rank)) is not None}
        if not runs:
            raise NoRun(f"{self._folder}: no process of the split model has a summary.json yet")
        for key, rank in ranks.items():
            self._read_history(key, rank)
        place = next(iter(ranks.values())).place
        expected = {(stage, tensor) for stage in range(place.pipeline[1])
                    for tensor in range(place.tensor[1])}  # fmt: skip
        silent = {key: self._why_silent(key, ranks, runs) for key in expected}
        lines = [
            self._merge(step, ranks, place.tensor[1], silent)
            for step in sorted(self._records)
            if self._is_due(step, expected, runs)
        ]
        self._append(lines)
        self._write_accounts(ranks, runs, expected, silent)

    def _read_history(self, key: Key, rank: ModelRank) -> None:
        try:
            with regular_files.open_to_read(rank.folder / "history.jsonl") as file:
                file.seek(self._read.get(key, 0))
                content = file.read(MOST_BYTES)
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read[key] = self._read.get(key, 0) + len(whole)
        for record in filter(None, map(read_capture, whole.splitlines())):
            step = record["metadata"]["step"]
            self._records[step][key] = record
            self._first_seen.setdefault(step, self._clock())
            self._rows |= dict.fromkeys(row for row, _ in rows_of(record, key[0]))

    def _is_due(self, step: int, expected: set[Key], runs: dict[Key, Run]) -> bool:
        there = frozenset(self._records[step])
        if there == self._merged.get(step, frozenset()):
            return False
        waiting = [key for key in expected - there if key in runs and not runs[key].has_ended]
        late = self._clock() - self._first_seen[step] > SILENT_SECONDS
        return not waiting or late or step in self._merged

    def _merge(
        self, step: int, ranks: dict[Key, ModelRank], tensor_ranks: int, silent: dict[Key, str]
    ) -> str:
        records = self._records[step]
        numbers = layer_numbers(self._rows)
        merged = merge_records(records, numbers, tensor_ranks, silent)
        folders = {key: ranks[key].folder / _step_folder(record) for key, record in records.items()}
        maps = merge_maps(folders, numbers, tensor_ranks, silent)
        if maps is not None:
            name = _step_folder(next(iter(records.values())))
            atomic_files.replace(self._target / name / paths.MAPS, maps)
        self._merged[step] = frozenset(records)
        return to_json(merged) + "\n"

    def _append(self, lines: list[str]) -> None:
        descriptor = atomic_files.open_to_append(self._target / "history.jsonl")
        with os.fdopen(descriptor, "ab") as file:
            file.write("".join(lines).encode())

    def _why_silent(self, key: Key, ranks: dict[Key, ModelRank], runs: dict[Key, Run]) -> str:
        """Return what is said of a process where it has no record."""
        if key not in ranks or key not in runs:
            return f"{describe_place(*key)} has not begun"
        steps = [step for step, records in self._records.items() if key in records]
        since = f"since step {max(steps):,}" if steps else "from the beginning"
        return f"{ranks[key].describe()} is silent {since}"

    def _write_accounts(
        self, ranks: dict[Key, ModelRank], runs: dict[Key, Run], expected: set[Key],
        silent: dict[Key, str],
    ) -> None:  # fmt: skip
        last = max(self._merged, default=None)
        behind = [] if last is None else sorted(expected - self._merged[last])
        first = runs[min(runs)]
        states = [runs[key].state for key in sorted(runs)]
        alive = [state for state in states if state == "running"]
        summary: dict[str, Any] = {
            **first.summary,
            "state": alive[0] if alive else states[0],
            "captured": len(self._merged), "rendered": len(self._merged), "dropped": 0,
            "failed": 0, "last_step": last, "pids": [],
            "warnings": [silent[key] for key in behind],
            "not_seen": [text for key in sorted(runs)
                         for text in runs[key].summary.get("not_seen", [])],
        }  # fmt: skip
        self._write("summary.json", summary)
        self._write_description(ranks)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of the merged run, if it is to say anything new."""
        text = to_json(content, 2)
        if self._written.get(name) != text:
            atomic_files.replace(self._target / name, text.encode())
            self._written[name] = text

    def _write_description(self, ranks: dict[Key, ModelRank]) -> None:
        try:
            content = json.loads(regular_files.read(ranks[min(ranks)].folder / "run.json"))
        except (OSError, ValueError):
            return
        numbers = layer_numbers(self._rows)
        tables = {(row.role, numbers[row.stage, row.role, row.number]): row for row in self._rows}
        content |= {
            "id": f"{content.get('id', '')}-model",
            "layers": [
                {"role": paths.role(*role), "layer": number, "module": row.name}
                for (role, number), row in sorted(tables.items())
            ],
        }
        self._write("run.json", content)


def _run(rank: ModelRank) -> Run | None:
    try:
        return read_run(rank.folder)
    except NoRun:
        return None


def _step_folder(record: Record) -> str:
    return f"step_{record['metadata']['step']}"
