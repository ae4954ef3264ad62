"""Finds arguments by the names of parameters: many libraries call the same thing the same."""

import inspect
from collections.abc import Mapping
from typing import Any

from scanlib.architecture import CannotBuild


def arguments(kind: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that this class takes, of those that are given by name.

    Raises `CannotBuild` for one that it needs and that is not there.
    """
    found = {}
    for name, each in inspect.signature(kind).parameters.items():
        if name in values:
            found[name] = values[name]
        elif each.default is each.empty and each.kind in (
            each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY,
        ):  # fmt: skip
            raise CannotBuild(f"{kind.__name__} needs {name}")
    return found
