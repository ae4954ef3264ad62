"""Writes `attention_weights.safetensors`: all weights of a capture, unpooled, in float32.

They are computed a tile at a time. `redraw.stored_capture` reads the file.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon_renderer.analysis.arrays import Pixels
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.sinks import safetensors
from attnmon_renderer.sinks.safetensors import Tensor
from attnmon_renderer.storage import atomic_files, paths

NAME = paths.RAW_WEIGHTS
ALLOWED = ".allowed"
"""Suffix of the name of a mask, which stands beside its layer's weights."""
IMAGE = "image"
"""Name of the sample's image, and of what is known of it in the metadata."""


def write_raw(
    folder: Path,
    capture: Capture,
    layers: Mapping[Attention, LayerAttention],
    image: Pixels | None = None,
) -> None:
    """Write the weights of a capture, and its image, into its folder. Raises OSError."""
    named = {paths.stem(attention): layer for attention, layer in layers.items()}
    with atomic_files.replacing(folder / NAME) as file:
        write_safetensors(file, named, _metadata(capture), image)


def write_safetensors(
    file: IO[bytes],
    layers: Mapping[str, LayerAttention],
    metadata: Mapping[str, str],
    image: Pixels | None = None,
) -> None:
    """Write each layer's weights [heads, queries, keys] under its name. Raises OSError.

    Where a mask forbids some keys, a bool tensor of the same name and ".allowed" says which are
    allowed, broadcastable to the weights: masked weights are zero, but not every zero is masked.
    """
    tensors = [
        *(_weights(name, layer) for name, layer in layers.items()),
        *(mask for name, layer in layers.items() if (mask := _mask(name, layer)) is not None),
    ]
    if image is not None:
        tensors.append(Tensor(IMAGE, "uint8", image.shape, iter((image.tobytes(),))))
    safetensors.write(file, tensors, metadata)


def _weights(name: str, layer: LayerAttention) -> Tensor:
    return Tensor(name, "float32", layer.shape, _head_by_head(layer))


def _mask(name: str, layer: LayerAttention) -> Tensor | None:
    allowed = layer.allowed
    if allowed is None:
        return None
    pieces = iter((allowed.tobytes(),))
    return Tensor(name + ALLOWED, "bool", allowed.shape, pieces)


def _head_by_head(layer: LayerAttention) -> Iterator[bytes]:
    """Yield the weights in C order."""
    heads, _, keys = layer.shape
    for head in range(heads):
        for tile in layer.tiles(heads=slice(head, head + 1)):
            yield tile.weights(keys).astype("<f4", copy=False).tobytes()


def _metadata(capture: Capture) -> dict[str, str]:
    """Return what is known of the capture, as text: the format has no other metadata."""
    run = {
        "step": capture.step,
        "epoch": capture.epoch,
        "loss": capture.loss,
        "lr": capture.lr,
        "timestamp": capture.timestamp,
        "sample": capture.sample,
        "seen_in": capture.seen_in,
        "due": "epoch" if capture.by_epoch else "step",
        "encoder_tokens": _tokens(capture.encoder_tokens),
        "decoder_tokens": _tokens(capture.decoder_tokens),
        IMAGE: None if capture.image is None else json.dumps(asdict(capture.image)),
    }
    about = {key: str(value) for key, value in run.items() if value is not None}
    for attention in capture.attentions:
        stem = paths.stem(attention)
        about[f"{stem}.module"] = attention.name
        about[f"{stem}.source"] = attention.source
        about[f"{stem}.heads"] = ",".join(map(str, attention.heads))
        about[f"{stem}.causal"] = str(attention.causal).lower()
        about[f"{stem}.earlier"] = str(attention.earlier)
        about[f"{stem}.note"] = attention.note
    return about


def _tokens(tokens: tuple[str, ...]) -> str | None:
    return json.dumps(tokens) if tokens else None
