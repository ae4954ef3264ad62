"""Merges the records of one step: layers by pipeline stage, heads by tensor rank."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from attnmon_renderer.model_ranks.layer_places import LocalLayer, Role, rows_of

Record = dict[str, Any]
Key = tuple[int, int]
"""A pipeline stage and a tensor rank."""


def merge_records(
    records: Mapping[Key, Record],
    numbers: Mapping[LocalLayer, int],
    tensor_ranks: int,
    silent: Mapping[Key, str],
) -> Record:
    """Return the record of the whole model.

    Args:
        records: of one step, by the place of the process; at least one.
        numbers: of the layers in the whole model.
        tensor_ranks: how many share the heads of a layer.
        silent: by place, why a process has no record.
    """
    parts: dict[tuple[Role, int], dict[int, Record]] = defaultdict(dict)
    for (stage, tensor_rank), record in records.items():
        for layer, row in rows_of(record, stage):
            number = numbers[stage, layer.role, layer.number]
            parts[layer.role, number][tensor_rank] = {**row, "stage": stage}
    merged: Record = {"metadata": _metadata(records), "encoder": [], "decoder": []}
    for (role, number), rows in sorted(parts.items()):
        merged[role[0]].append(_merge_rows(number, rows, tensor_ranks, silent))
    return merged


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
    number: int, rows: Mapping[int, Record], tensor_ranks: int, silent: Mapping[Key, str]
) -> Record:
    """Return a layer's row, from those of the tensor ranks that are there."""
    present = [rows[rank] for rank in sorted(rows)]
    first = present[0]
    heads = max(row["shape"][0] for row in present)
    numbers = [row.get("head_indices") or list(range(heads)) for row in present]
    step = 1 + max(map(max, numbers), default=0)  # as the maps: heads may be a selection
    missing = [rank for rank in range(tensor_ranks) if rank not in rows]
    why = [f"{silent.get((first['stage'], rank), 'not recorded')}: its heads are missing"
           for rank in missing]  # fmt: skip
    notes = dict.fromkeys(filter(None, [row.get("note", "") for row in present] + why))
    return {
        **{name: value for name, value in first.items() if name != "stage"},
        "layer": number,
        **merged_moments(present),
        "shape": [heads * tensor_ranks, *first["shape"][1:]],
        "heads": _merged_heads(rows, heads, tensor_ranks),
        "head_indices": [
            rank * step + head
            for rank in range(tensor_ranks)
            for head in rows.get(rank, first).get("head_indices") or range(heads)
        ],
        "non_finite": sum(row.get("non_finite", 0) for row in present),
        "row_sum_error": _largest(row.get("row_sum_error") for row in present),
        "error": _largest(row.get("error") for row in present),
        "note": " · ".join(notes),
    }


def merged_moments(rows: Sequence[Record]) -> dict[str, float | None]:
    """Return mean, standard deviation, minimum and maximum of all weights.

    From those of parts, by Chan, Golub & LeVeque 1983, "Algorithms for computing the sample
    variance", equation 2.1.
    """
    if any(row.get(name) is None for row in rows for name in ("mean", "std", "min", "max")):
        return dict.fromkeys(("mean", "std", "min", "max"))
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
    rows: Mapping[int, Record], heads: int, tensor_ranks: int
) -> dict[str, list[float | None]]:
    """Return each statistic of all heads; None for the heads of a process that is silent."""
    names = dict.fromkeys(name for row in rows.values() for name in row.get("heads", {}))
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
