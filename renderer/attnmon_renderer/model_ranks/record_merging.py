"""Merges the records of one step: layers by pipeline stage, heads by tensor rank."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attnmon_renderer.model_ranks.layer_places import LocalLayer, rows_of

Record = dict[str, Any]
Key = tuple[int, int]
"""A pipeline stage and a tensor rank."""


class RecordMerging:
    """Merges the records of one step after another.

    It remembers the layers that it has seen: of a stage that is silent they are shown empty.
    """

    def __init__(self, tensor_ranks: int = 1) -> None:
        self.tensor_ranks = tensor_ranks
        """How many processes share the heads of a layer."""
        self._seen: dict[LocalLayer, Record] = {}
        """A row of each layer, to tell its shape."""

    def merged(
        self,
        records: Mapping[Key, Record],
        numbers: Mapping[LocalLayer, int],
        silent: Mapping[Key, str],
    ) -> Record:
        """Return the record of the whole model.

        Args:
            records: of one step, by the place of the process; at least one.
            numbers: of the layers in the whole model.
            silent: by place, why a process has no record.
        """
        parts: dict[LocalLayer, dict[int, Record]] = defaultdict(dict)
        for (stage, tensor_rank), record in records.items():
            for named, row in rows_of(record, stage):
                parts[stage, named.role, named.number][tensor_rank] = row
        self._seen |= {layer: next(iter(rows.values())) for layer, rows in parts.items()}
        there = {stage for stage, _ in records}
        parts |= {layer: {} for layer in self._seen if layer[0] not in there}
        merged: Record = {"metadata": _metadata(records), "encoder": [], "decoder": []}
        for layer in sorted(parts, key=lambda layer: _order(layer, numbers)):
            why = {rank: silent.get((layer[0], rank), "not recorded")
                   for rank in range(self.tensor_ranks) if rank not in parts[layer]}  # fmt: skip
            row = _merge_rows(parts[layer], self._seen[layer], self.tensor_ranks, why)
            merged[layer[1][0]].append({**row, "layer": numbers[layer]})
        return merged


def _order(layer: LocalLayer, numbers: Mapping[LocalLayer, int]) -> tuple[str, int, bool]:
    """Return what sorts layers as a model computes them: by block, to itself before the other."""
    _, (stack, kind), _ = layer
    return stack, numbers[layer], kind != "self_attention"


def _metadata(records: Mapping[Key, Record]) -> dict[str, Any]:
    """Return what the processes know: the last stage has the loss, the first may have none."""
    known: dict[str, Any] = {}
    for key in sorted(records, reverse=True):
        for name, value in records[key]["metadata"].items():
            if known.get(name) is None:
                known[name] = value
    known.pop("rank", None)
    return known


def _merge_rows(
    rows: Mapping[int, Record], like: Record, tensor_ranks: int, why: Mapping[int, str]
) -> Record:
    """Return a layer's row, from those of the tensor ranks that are there.

    Args:
        like: a row of the layer, by which the shape is known where no rank is there.
        why: by tensor rank, why it is not there.
    """
    present = [rows[rank] for rank in sorted(rows)]
    first = present[0] if present else like
    heads = max(row["shape"][0] for row in present or [like])
    numbers = [row.get("head_indices") or list(range(heads)) for row in present or [like]]
    step = 1 + max(map(max, numbers), default=0)  # as the maps: heads may be a selection
    notes = [row.get("note", "") for row in present or [like]]
    notes += [f"{each}: its heads are missing" for each in why.values()]
    return {
        **first,
        **merged_moments(present),
        "shape": [heads * tensor_ranks, *first["shape"][1:]],
        "heads": _merged_heads(rows, first, heads, tensor_ranks),
        "head_indices": [
            rank * step + head
            for rank in range(tensor_ranks)
            for head in rows.get(rank, first).get("head_indices") or range(heads)
        ],
        "non_finite": sum(row.get("non_finite", 0) for row in present),
        "row_sum_error": _largest(row.get("row_sum_error") for row in present),
        "error": _largest(row.get("error") for row in present),
        "note": " · ".join(dict.fromkeys(filter(None, notes))),
    }


def merged_moments(rows: Sequence[Record]) -> dict[str, float | None]:
    """Return mean, standard deviation, minimum and maximum of all weights.

    From those of parts, by Chan, Golub & LeVeque 1983, "Algorithms for computing the sample
    variance", equation 2.1.
    """
    names = ("mean", "std", "min", "max")
    if not rows or any(row.get(name) is None for row in rows for name in names):
        return dict.fromkeys(names)
    counts = [math.prod(row["shape"]) for row in rows]
    total = sum(counts)
    mean = sum(n * row["mean"] for n, row in zip(counts, rows, strict=True)) / total
    squares = sum(
        n * (row["std"] ** 2 + (row["mean"] - mean) ** 2)
        for n, row in zip(counts, rows, strict=True)
    )
    return {
        "mean": mean,
        "std": math.sqrt(squares / total),
        "min": min(row["min"] for row in rows),
        "max": max(row["max"] for row in rows),
    }


def _merged_heads(
    rows: Mapping[int, Record], first: Record, heads: int, tensor_ranks: int
) -> dict[str, list[float | None]]:
    """Return each statistic of all heads; None for the heads of a process that is silent."""
    names = dict.fromkeys(name for row in (*rows.values(), first) for name in row.get("heads", {}))
    unknown: list[float | None] = [None] * heads
    return {
        name: [
            value
            for rank in range(tensor_ranks)
            for value in (rows[rank]["heads"].get(name, unknown) if rank in rows else unknown)
        ]
        for name in names
    }


def _largest(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)
