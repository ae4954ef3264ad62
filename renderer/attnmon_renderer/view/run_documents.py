"""Describes runs as the page reads them: a row of the list, and all of one run."""

from collections.abc import Iterable
from typing import Any

from attnmon_renderer.overview.troubles import find_troubles
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.records import recorded_layers
from attnmon_renderer.storage.run_reader import Run
from attnmon_renderer.view.runs.listed_captures import ListedCapture
from attnmon_renderer.view.runs.local_run import LocalRun

TYPES = {"self": "self_attention", "cross": "cross_attention"}
_ROW_FIELDS = ("name", "source", "note")


def run_row(key: str, title: str, source: LocalRun) -> dict[str, Any]:
    """Return a run's row in the list of runs. Raises `NoRun`."""
    run = source.read()
    metadata = (run.last or {}).get("metadata", {})
    rank = run.summary.get("rank")
    return {
        "id": key,
        "title": title,
        "directory": shown_place(run.folder),
        "state": run.state,
        "alive": is_alive(run),
        "step": _first_known(run.summary.get("last_step"), metadata.get("step")),
        "loss": metadata.get("loss"),
        "updated": _first_known(run.summary.get("written"), metadata.get("timestamp")),
        "captures": run.count("rendered"),
        "alerts": sum(alert.is_open for alert in source.alerts()),
        "ranks": None if rank is None else [rank],
    }


def _first_known(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def run_document(key: str, title: str, source: LocalRun, after: int) -> dict[str, Any]:
    """Return all that is known of a run, with the captures since a cursor. Raises `NoRun`."""
    run = source.read()
    cursor = source.cursor()
    damages = list(run.damages)
    description = source.description(damages)
    captures = source.captures().values()
    return {
        "id": key,
        "title": title,
        "state": run.state,
        "alive": is_alive(run),
        "cursor": cursor,
        "summary": run.summary,
        "run": description,
        "layers": list(layer_rows(run, description)),
        "captures": [capture_row(each) for each in captures if each.noticed >= after],
        "alerts": [alert.fields() for alert in source.alerts()],
        "damages": damages,
        "troubles": find_troubles(run),
    }


def is_alive(run: Run) -> bool:
    """Return whether a run goes on, as far as can be told from this machine."""
    return not run.has_ended and any(alive is not False for alive in run.processes().values())


def capture_row(capture: ListedCapture) -> dict[str, Any]:
    """Return a capture's row in its run."""
    return {
        "c": capture.key,
        "step": capture.step,
        "folder": capture.folder,
        "epoch": capture.epoch,
        "maps": capture.has_maps,
        "pictures": capture.pictures,
    }


def layer_rows(run: Run, description: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield each layer that `run.json` or the last capture names."""
    named = {(row["role"], row["layer"]): row for row in description.get("layers") or []}
    last = {
        (paths.role(stack, row["type"]), row["layer"]): row
        for stack, row in recorded_layers(run.last or {})
    }
    for role, layer in sorted(named.keys() | last.keys()):
        described, row = named.get((role, layer), {}), last.get((role, layer), {})
        stack, _, short = role.partition("_")
        heads = described.get("heads") or next(iter(row.get("shape") or []), None)
        yield {
            "stem": f"{stack}_layer{layer}_{short}_attn",
            "role": role,
            "layer": layer,
            "type": TYPES.get(short),
            "heads": heads,
            "name": described.get("module") or row.get("name"),
            "source": described.get("source") or row.get("source"),
            "note": row.get("note") or described.get("note"),
        }
