"""Reads the rows of layers in a line of the history, where any number may be missing."""

import math
from collections.abc import Iterable
from typing import Any


def layer_rows(line: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of all layers: first the encoder's, then the decoder's."""
    return [*line["encoder"], *line["decoder"]]


def head_values(row: dict[str, Any], statistic: str) -> list[float]:
    """Returns the statistic of the heads for which it is known."""
    return known((row.get("heads") or {}).get(statistic) or ())


def known(values: Iterable[float | None]) -> list[float]:
    """Returns the values that are not None."""
    return [value for value in values if value is not None]


def mean(values: list[float]) -> float | None:
    """Returns the mean; None if there is no value."""
    return math.fsum(values) / len(values) if values else None
