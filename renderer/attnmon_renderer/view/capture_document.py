"""Describes a capture as the page reads it: its layers, and what their maps are of."""

import base64
from math import prod
from typing import Any

from attnmon_renderer.maps.maps_file import MapsFile
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.maps.maps_metadata import LayerMaps, MapsMetadata
from attnmon_renderer.tokens.token_text import readable
from attnmon_renderer.view.runs.listed_captures import ListedCapture

MOST_VALUES = 1 << 21
"""Of all layers together: a file may say that many of them are in the same place."""
MOST_TOKENS = 1 << 17


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
    _, queries, keys = layer.shape
    return {
        "stem": layer.stem,
        "module": layer.module,
        "source": layer.source,
        "heads": layer.heads,
        "rows": layer.rows,
        "columns": layer.columns,
        "queries": queries,
        "keys": keys,
        "query_step": layer.query_step,
        "key_step": layer.key_step,
        "causal": layer.causal,
        "earlier": layer.earlier,
        "note": layer.note,
        "sampled": layer.sampled,
        "non_finite": layer.non_finite,
        "missing": layer.missing,
        "thumbs_shape": layer.spans[".thumbs"].shape,
        "scale": maps.scale(layer.stem).tolist(),
        "allowed": "" if allowed is None else base64.b64encode(allowed.tobytes()).decode(),
        "allowed_shape": [] if allowed is None else allowed.shape,
    }
