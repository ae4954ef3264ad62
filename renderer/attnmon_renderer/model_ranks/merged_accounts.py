"""Merges the accounts of a model's parts into those of the whole."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from attnmon_renderer.storage.run_reader import Run

_SUMS = ("dropped", "failed")
_LISTS = ("errors", "not_seen")


def merged_summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the summary of the whole; of what only one process knows it is the first's.

    It goes on as long as one process does; afterwards it is what went wrong with any.
    """
    first = runs[0]
    states = [run.state for run in runs]
    here = [run for run in runs if run.summary.get("host") == first.summary.get("host")]
    merged: dict[str, Any] = {
        **first.summary,
        "state": "running"
        if "running" in states
        else next((state for state in states if state != "closed"), "closed"),
        **{name: sum(run.count(name) for run in runs) for name in _SUMS},
        **{name: list(chain.from_iterable(run.summary.get(name, []) for run in runs))
           for name in _LISTS},
        "pids": list(chain.from_iterable(run.summary.get("pids", []) for run in here)),
    }  # fmt: skip
    if off := [run.summary["off"] for run in runs if run.summary.get("off")]:
        merged["off"] = off[0]
    return merged
