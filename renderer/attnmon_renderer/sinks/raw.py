"""`attention_weights.safetensors`: all weights of a capture, unpooled, in float32.

The format is written here, a tile at a time: the safetensors library wants all tensors in memory
at once, which for long sequences is more than a renderer should take. It reads what this writes.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from math import prod
from pathlib import Path
from typing import IO

from attnmon.link.messages import Attention, Capture
from attnmon_renderer import files, layout
from attnmon_renderer.attention import LayerAttention

NAME = "attention_weights.safetensors"

FLOAT_BYTES = 4


def write_raw(folder: Path, capture: Capture, layers: Mapping[Attention, LayerAttention]) -> None:
    """Put the weights of a capture into its folder. Raises OSError."""
    named = {layout.stem(attention): layer for attention, layer in layers.items()}
    with files.replacing(folder / NAME) as file:
        write_safetensors(file, named, _metadata(capture))


def write_safetensors(
    file: IO[bytes], layers: Mapping[str, LayerAttention], metadata: Mapping[str, str]
) -> None:
    """Write each layer's weights [heads, queries, keys] under its name. Raises OSError.

    The format: https://github.com/huggingface/safetensors#format
    """
    header = json.dumps({"__metadata__": dict(metadata), **_tensors(layers)}).encode()
    header += b" " * (-len(header) % 8)
    file.write(len(header).to_bytes(8, "little") + header)
    for layer in layers.values():
        for tile in _in_order(layer):
            file.write(tile)


def _tensors(layers: Mapping[str, LayerAttention]) -> dict[str, object]:
    sizes = (FLOAT_BYTES * prod(layer.shape) for layer in layers.values())
    spans = pairwise(accumulate(sizes, initial=0))
    return {
        name: {"dtype": "F32", "shape": layer.shape, "data_offsets": span}
        for (name, layer), span in zip(layers.items(), spans, strict=True)
    }


def _in_order(layer: LayerAttention) -> Iterator[bytes]:
    """The weights in C order, head by head."""
    heads, _, keys = layer.shape
    for head in range(heads):
        for tile in layer.tiles(heads=slice(head, head + 1)):
            yield tile.weights(keys).astype("<f4", copy=False).tobytes()


def _metadata(capture: Capture) -> dict[str, str]:
    """All of it as text, as the format has it; what is not known is left out."""
    run = {"step": capture.step, "epoch": capture.epoch, "loss": capture.loss, "lr": capture.lr}
    about = {key: str(value) for key, value in run.items() if value is not None}
    for attention in capture.attentions:
        stem = layout.stem(attention)
        about[f"{stem}.module"] = attention.name
        about[f"{stem}.heads"] = ",".join(map(str, attention.heads))
        about[f"{stem}.note"] = attention.note
    return about
