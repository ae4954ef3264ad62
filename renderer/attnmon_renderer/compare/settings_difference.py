"""Finds the settings in which runs differ: what was set, configured and installed."""

from collections.abc import Mapping, Sequence
from typing import Any

from attnmon_renderer.storage.run_reader import Run

_PARTS = ("settings", "config", "versions", "git")
_ALONE = ("command", "host", "rank", "world_size", "probe")
MOST_ITEMS = 20
"""Values of a group's runs that are named."""


def settings_of(run: Run, description: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a run was started with, by dotted names such as "config.optimizer.lr".

    Args:
        description: What `run.json` says; of older runs, which have none, the summary is asked.
    """
    source = description or run.summary
    found = {name: source[name] for name in _ALONE if source.get(name) is not None}
    for part in _PARTS:
        found |= _flat(part, source.get(part))
    if command := found.get("command"):
        found["command"] = " ".join(map(str, command))
    return found


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in both, each as [a, b]; null where one lacks it.

    1 and "1" are not the same, nor are 1 and true.
    """
    names = dict.fromkeys([*a, *b])
    pairs = {name: [a.get(name), b.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if not _same(*pair)}


def differing_groups(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """Return the settings whose values are not the same in both groups, each as [a, b].

    Where a group's own runs differ, as in their seed, its values are in a list.
    """
    names = dict.fromkeys(name for run in (*a, *b) for name in run)
    found = {}
    for name in names:
        values = [_distinct([run.get(name) for run in group]) for group in (a, b)]
        if not _same(*(sorted(map(_key, each)) for each in values)):
            found[name] = [each[0] if len(each) == 1 else each[:MOST_ITEMS] for each in values]
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        parts = (_flat(f"{name}.{key}", inner) for key, inner in value.items())
        return {key: inner for part in parts for key, inner in part.items()}
    return {} if value is None or value == {} else {name: value}


def _distinct(values: Sequence[Any]) -> list[Any]:
    return list({_key(value): value for value in values}.values())


def _same(a: Any, b: Any) -> bool:
    return _key(a) == _key(b)


def _key(value: Any) -> str:
    """Return what tells values apart: numbers by their value, all others by their type, too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, list):
        return repr([_key(each) for each in value])
    return repr(float(value)) if is_number else repr(value)
