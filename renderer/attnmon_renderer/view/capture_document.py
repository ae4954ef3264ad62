"""Describes a capture as the page reads it: its layers, and what their maps are of."""

import base64
from typing import Any

import numpy as np

from attnmon_renderer.maps.maps_file import MapsFile
from attnmon_renderer.maps.maps_metadata import LayerMaps
from attnmon_renderer.view.runs.listed_captures import ListedCapture

RECEIVED_DIGITS = 5
"""Of the mean weight that a key gets, which is stored with eleven bits."""


def capture_document(capture: ListedCapture, maps: MapsFile | None) -> dict[str, Any]:
    """Return what is known of a capture, and of its maps where it has any. Raises `BadMaps`."""
    about = None if maps is None else maps.metadata
    return {
        "c": capture.key,
        "step": capture.step,
        "epoch": capture.epoch if about is None else about.epoch,
        "loss": None if about is None else about.loss,
        "tokens": _tokens(maps),
        "layers": []
        if maps is None
        else [_layer(maps, row) for row in maps.metadata.layers.values()],
        "pictures": capture.pictures,
        "damages": [] if about is None else about.damages,
    }


def _tokens(maps: MapsFile | None) -> dict[str, list[str]] | None:
    if maps is None or not maps.metadata.tokens:
        return None
    from attnmon_renderer.drawing.text.token_text import readable  # with it comes matplotlib

    found = maps.metadata.tokens
    return {stack: list(readable(tokens)) for stack, tokens in found.items()}


def _layer(maps: MapsFile, layer: LayerMaps) -> dict[str, Any]:
    allowed = maps.allowed(layer.stem)
    received = maps.received(layer.stem)
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
        "scale": maps.scale(layer.stem).tolist(),
        "received": None if received is None else _rounded(received),
        "allowed": "" if allowed is None else base64.b64encode(allowed.tobytes()).decode(),
        "allowed_shape": [] if allowed is None else allowed.shape,
    }


def _rounded(received: Any) -> list[list[float]]:
    exact = np.nan_to_num(received.astype(np.float64), posinf=0.0, neginf=0.0)
    rounded: list[list[float]] = exact.round(RECEIVED_DIGITS).tolist()
    return rounded
