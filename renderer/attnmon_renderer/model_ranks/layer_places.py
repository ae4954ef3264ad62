"""Gives the layers and heads of each part of a model their numbers in the whole."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from attnmon.link.records.attention_record import AttentionType
from attnmon_renderer.storage.records import recorded_layers

Role = tuple[str, AttentionType]
"""The stack of a layer, and its type, as rows of statistics say them."""
LocalLayer = tuple[int, Role, int]
"""A pipeline stage, a role, and the layer's number there."""


class LayerRow(NamedTuple):
    """A layer as one stage knows it."""

    stage: int
    role: Role
    number: int
    name: str
    """The module's name."""


def layer_numbers(rows: Iterable[LayerRow]) -> dict[LocalLayer, int]:
    """Return the number of each layer in the whole model.

    Where the modules' names hold numbers that no two stages share, such as those of
    "layers.14.attn", these are the numbers. Otherwise stages follow each other: each is taken to
    have as many layers as its largest number says.
    """
    by_role: dict[Role, dict[LocalLayer, str]] = defaultdict(dict)
    for row in rows:
        by_role[row.role][row.stage, row.role, row.number] = row.name
    numbers: dict[LocalLayer, int] = {}
    for names in by_role.values():
        numbers |= _named_numbers(names) or _consecutive_numbers(names)
    return numbers


def _named_numbers(names: Mapping[LocalLayer, str]) -> dict[LocalLayer, int]:
    found = {layer: re.findall(r"\d+", name) for layer, name in names.items()}
    if any(len(digits) != 1 for digits in found.values()):
        return {}
    numbers = {layer: int(digits[0]) for layer, digits in found.items()}
    return numbers if len(set(numbers.values())) == len(numbers) else {}


def _consecutive_numbers(names: Mapping[LocalLayer, str]) -> dict[LocalLayer, int]:
    sizes: dict[int, int] = defaultdict(int)
    for stage, _, number in names:
        sizes[stage] = max(sizes[stage], number + 1)
    return {
        (stage, role, number): number + sum(sizes[each] for each in sizes if each < stage)
        for stage, role, number in names
    }


def rows_of(record: Mapping[str, Any], stage: int) -> Iterable[tuple[LayerRow, dict[str, Any]]]:
    """Yield the layers of a capture's record, with their rows."""
    for stack, row in recorded_layers(record):
        yield LayerRow(stage, (stack, row["type"]), row["layer"], row.get("name", "")), row
