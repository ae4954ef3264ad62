"""The project's own support matrix: the models that its tests compare to the last digit."""

import importlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scanlib.architecture import SAMPLES, Architecture, Built, CannotBuild, prepared

TESTS = Path(__file__).resolve().parents[3] / "tests"


def architectures() -> Iterator[Architecture]:
    """Yields one architecture for each row; none without the project's tests."""
    if not (TESTS / "support").is_dir():
        return
    sys.path.insert(0, str(TESTS))
    matrix: Any = importlib.import_module("support.support_matrix")
    for name, row in matrix.ROWS.items():
        yield Architecture(f"matrix/{name}", partial(_built, row))


def _built(row: Any) -> Built:
    if row.probe_only:
        raise CannotBuild("it compiles itself: another test looks at it")
    torch.manual_seed(0)
    model = row.build()
    first, second = row.inputs(), row.inputs()
    return prepared(model, _longer(first, second))


def _longer(one: Any, other: Any) -> Any:
    """Returns a batch of three from two of two."""
    if isinstance(one, Tensor):
        return torch.cat([one, other])[:SAMPLES]
    if isinstance(one, dict):
        return {name: _longer(one[name], other[name]) for name in one}
    return tuple(_longer(a, b) for a, b in zip(one, other, strict=True))
