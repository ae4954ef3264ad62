"""Describes runs and captures as the page reads them."""

import base64
from collections.abc import Iterable
from math import prod
from typing import Any

from attnmon_renderer.maps.maps_file import MapsFile
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.maps.maps_metadata import LayerMaps, MapsMetadata
from attnmon_renderer.overview.troubles import find_troubles
from attnmon_renderer.storage import paths
from attnmon_renderer.storage.copies import shown_place
from attnmon_renderer.storage.records import recorded_layers
from attnmon_renderer.storage.run_reader import Run
from attnmon_renderer.tokens.token_text import readable
from attnmon_renderer.view.runs.listed_captures import ListedCapture
from attnmon_renderer.view.runs.local_run import LocalRun

TYPES = {"self": "self_attention", "cross": "cross_attention"}
MOST_VALUES = 1 << 21
"""Of all layers together: a file may say that many of them are in the same place."""
MOST_TOKENS = 1 << 17


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
        "alive": run.goes_on,
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
        "alive": run.goes_on,
        "cursor": cursor,
        "summary": run.summary,
        "run": description,
        "layers": list(layer_rows(run, description)),
        "captures": [capture_row(each) for each in captures if each.noticed >= after],
        "alerts": [alert.fields() for alert in source.alerts()],
        "damages": damages,
        "troubles": find_troubles(run),
    }


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


def capture_document(capture: ListedCapture, maps: MapsFile | None) -> dict[str, Any]:
    """Return what is known of a capture, and of its maps where it has any."""
    about = None if maps is None else maps.metadata
    damages = [] if about is None else list(about.damages)
    return {
        "c": capture.key,
        "step": capture.step,
        "epoch": capture.epoch if about is None else about.epoch,
        "loss": None if about is None else about.loss,
        "tokens": None if about is None else _tokens(about, damages),
        "layers": [] if maps is None else _layers(maps, damages),
        "pictures": capture.pictures,
        "damages": damages,
    }


def _tokens(about: MapsMetadata, damages: list[str]) -> dict[str, list[str]] | None:
    """Return the tokens as people read them; None where the user has named none."""
    if sum(map(len, about.tokens.values())) > MOST_TOKENS:
        damages.append("the tokens are left out: there are too many")
        return None
    if not about.tokens:
        return None
    return {stack: list(readable(tokens)) for stack, tokens in about.tokens.items()}


def _layers(maps: MapsFile, damages: list[str]) -> list[dict[str, Any]]:
    rows, room, place = [], MOST_VALUES, 0
    for stem, layer in maps.metadata.layers.items():
        room -= _values_of(layer)
        thumbs = layer.spans[".thumbs"]
        place += thumbs.nbytes
        try:
            if room < 0:
                raise BadMaps("there is more of it than can be sent")
            rows.append({**_layer(maps, layer), "thumbs_at": place - thumbs.nbytes})
        except BadMaps as error:
            damages.append(f"{stem} is left out: {error}")
    return rows


def _values_of(layer: LayerMaps) -> int:
    spans = (layer.spans.get(suffix) for suffix in (".scale", ".allowed"))
    return sum(prod(span.shape) for span in spans if span is not None)


def _layer(maps: MapsFile, layer: LayerMaps) -> dict[str, Any]:
    """Return what is known of a layer. Raises `BadMaps`."""
    allowed = maps.allowed(layer.stem)
    return layer.for_page() | {
        "module": layer.module,
        "source": layer.source,
        "thumbs_shape": layer.spans[".thumbs"].shape,
        "scale": maps.scale(layer.stem).tolist(),
        "allowed": "" if allowed is None else base64.b64encode(allowed.tobytes()).decode(),
        "allowed_shape": [] if allowed is None else allowed.shape,
    }
