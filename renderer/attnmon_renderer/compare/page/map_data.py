"""Gathers the maps that a page shows: the codes of both runs, of the heads that differ most."""

import base64
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from attnmon_renderer.compare.map_comparison import MapComparison
from attnmon_renderer.compare.map_matching import MatchedLayer
from attnmon_renderer.maps.maps_file import MapsFile, open_maps
from attnmon_renderer.maps.maps_metadata import LayerMaps

MOST_BYTES = 8_000_000
"""Of maps, in both runs together; base64 makes them a third more."""


def map_data(maps: MapComparison) -> dict[str, Any]:
    """Return what the page's script draws from, as JSON may hold it.

    Raises OSError, BadMaps.
    """
    with ExitStack() as opened:
        a, b = (opened.enter_context(open_maps(path)) for path in maps.paths)
        chosen = _heads_that_fit(maps.layers, a)
        layers = [_layer(layer, heads, a, b) for layer, heads in chosen if heads]
        return {
            "layers": layers,
            "left_out": maps.heads - sum(len(layer["heads"]) for layer in layers),
        }


def _heads_that_fit(
    layers: Sequence[MatchedLayer], a: MapsFile
) -> list[tuple[MatchedLayer, list[int]]]:
    """Return the heads of each layer, by their places: those farthest apart for which is room."""
    every = [(layer, head) for layer in layers for head in range(len(layer.heads))]
    every.sort(key=lambda each: -np.nan_to_num(each[0].numbered[each[1]]))
    left, chosen = MOST_BYTES, {layer.stem: set[int]() for layer in layers}
    for layer, head in every:
        left -= 3 * _cells(a.metadata.layers[layer.stem])  # A's, B's of the same number, a partner
        if left < 0:
            break
        chosen[layer.stem].add(head)
    return [(layer, sorted(chosen[layer.stem])) for layer in layers]


def _cells(layer: LayerMaps) -> int:
    return layer.rows * layer.columns


def _layer(layer: MatchedLayer, heads: Sequence[int], a: MapsFile, b: MapsFile) -> dict[str, Any]:
    about = a.metadata.layers[layer.stem]
    numbers = [layer.heads[head] for head in heads]
    partners = [layer.heads[layer.partners[head]] for head in heads]
    in_b = list(dict.fromkeys([*numbers, *partners]))
    queries, keys = a.metadata.axis_tokens(about)
    allowed = a.allowed(layer.stem)
    return {
        "name": str(layer.name),
        "rows": about.rows,
        "columns": about.columns,
        "query_step": about.query_step,
        "key_step": about.key_step,
        "queries": about.shape[1],
        "keys": about.shape[2],
        "causal": about.causal,
        "earlier": about.earlier,
        "allowed": "" if allowed is None else _text(allowed.any(0)),
        "allowed_shape": [] if allowed is None else allowed.shape[1:],
        "tokens": [list(queries), list(keys)],
        "at_least": layer.is_bound,
        "heads": [
            {
                "a": number,
                "b": partner,
                "numbered": _known(layer.numbered[head]),
                "matched": _known(layer.matched[head]),
            }
            for head, number, partner in zip(heads, numbers, partners, strict=True)
        ],
        "maps_a": {number: _map(a, layer.stem, number) for number in numbers},
        "maps_b": {number: _map(b, layer.stem, number) for number in in_b},
    }


def _map(maps: MapsFile, stem: str, head: int) -> dict[str, Any]:
    found = maps.codes(stem, head)
    return {"codes": _text(found.codes), "scale": found.scale}


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _text(values: Any) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
