"""One choice each: from what a user may give to the one form of it.

All raise ValueError or TypeError that name what was given, what is allowed, and what to do.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attnmon.config.values import choice, unknown, whole, wholes
from attnmon.options import VISUALIZATION_TYPES, Heads, Layers


def known_kinds(given: Iterable[str]) -> tuple[str, ...]:
    """The kinds asked for, each once. Raises ValueError for an unknown one."""
    if isinstance(given, str):
        raise TypeError(f"visualization_types={given!r}: give a list, such as [{given!r}]")
    names = tuple(dict.fromkeys(given))
    for name in names:
        if name not in VISUALIZATION_TYPES:
            raise ValueError(unknown("visualization_types", name, VISUALIZATION_TYPES))
    return names


def chosen_layers(given: Layers) -> tuple[int | str, ...] | None:
    """None for all; else indices and name patterns, each once."""
    if given is None or given == "all":
        return None
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    chosen = tuple(dict.fromkeys(_layer(item) for item in several))
    if not chosen:
        raise ValueError("layers_to_visualize=[]: nothing is chosen; name at least one, or 'all'")
    return chosen


def _layer(given: Any) -> int | str:
    """An index, or a name or pattern as in 'decoder.layers.*'."""
    return given if isinstance(given, str) and given else whole("layers_to_visualize", given)


def chosen_heads(given: Heads) -> str | tuple[int, ...]:
    if isinstance(given, str):
        name: str = choice("heads_to_visualize", given, ("average", "all"))
        return name
    indices: Iterable[Any] = given if isinstance(given, Iterable) else [given]
    return wholes("heads_to_visualize", indices, at_least=0)


def chosen_ranks(given: Any) -> str | tuple[int, ...]:
    if isinstance(given, str):
        name: str = choice("ranks", given, ("zero", "all"))
        return name
    return wholes("ranks", given if isinstance(given, Iterable) else [given], at_least=0)


def chosen_renderer(given: Any) -> str:
    """ "own", "attach", or a socket's absolute path; the environment's choice where it has one."""
    chosen = os.environ.get("ATTNMON_RENDERER") or given
    if os.sep in str(chosen):
        return str(Path(chosen).expanduser().absolute())
    name = "renderer" if chosen is given else "ATTNMON_RENDERER"
    known: str = choice(name, chosen, ("own", "attach", "/path/of/its/socket"))
    return known


def cpus(given: Any) -> tuple[int, ...]:
    """Processors' numbers. Raises ValueError for one that this machine has not."""
    if isinstance(given, str):
        raise TypeError(f"renderer_cpus={given!r}: give a list, such as [0, 1]")
    several = given if isinstance(given, Iterable) else (given,)
    chosen = wholes("renderer_cpus", several, at_least=0)
    count = os.cpu_count() or 1
    if max(chosen) >= count:
        raise ValueError(
            f"renderer_cpus={list(chosen)}: there are only the processors 0 … {count - 1}"
        )
    return chosen


def epochs(given: Iterable[int] | int | None) -> frozenset[int]:
    several = given if isinstance(given, Iterable) else () if given is None else (given,)
    return frozenset(whole("save_on_epochs", epoch, at_least=0) for epoch in several)
