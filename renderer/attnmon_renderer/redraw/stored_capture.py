"""Reads captures back from their raw weights, in the form in which the training process sent them.

The file takes the place of the ring: arrays are views of its memory map.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from attnmon.link.messages import Capture, SeenIn
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.analysis.arrays import Memory
from attnmon_renderer.sinks import safetensors
from attnmon_renderer.sinks.raw_weights import ALLOWED, IMAGE
from attnmon_renderer.storage import paths, regular_files


class NotStored(Exception):
    """Raw weights are missing or cannot be read; the text says why."""


@dataclass(frozen=True)
class StoredCapture:
    """A capture, and the memory that holds its arrays."""

    capture: Capture
    memory: Memory
    """The whole file; the offsets of the capture's blocks refer to it."""
    left_out: tuple[str, ...] = ()
    """A line for each layer that is stored in a form of which no picture can be made."""


def read_capture(path: Path) -> StoredCapture:
    """Read the capture in a file of raw weights.

    Raises:
        NotStored: attnmon has not written the file, or not to its end.
    """
    try:
        with regular_files.open_to_read(path) as file:
            memory = np.memmap(file, np.uint8, "r")
        capture = _capture(*safetensors.read_index(memory))
        ends = [block.offset + block.nbytes for block in capture.blocks]
        if max(ends) > memory.size:
            raise ValueError(f"it ends after {memory.size:,} of {max(ends):,} bytes")
        return StoredCapture(capture, memory)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotStored(f"{path} cannot be read: {error or type(error).__name__}") from error


def _capture(about: Mapping[str, str], blocks: Mapping[str, ArrayBlock]) -> Capture:
    return Capture(
        sequence=0,
        step=int(about["step"]),
        by_epoch=about["due"] == "epoch",
        epoch=int(about["epoch"]) if "epoch" in about else None,
        loss=float(about["loss"]) if "loss" in about else None,
        lr=float(about["lr"]) if "lr" in about else None,
        timestamp=float(about["timestamp"]),
        sample=int(about["sample"]),
        slots=(Slots(0, 1),),
        attentions=tuple(_attentions(about, blocks)),
        accounts=Accounts(),
        seen_in=cast(SeenIn, about["seen_in"]),
        encoder_tokens=tuple(json.loads(about.get("encoder_tokens", "[]"))),
        decoder_tokens=tuple(json.loads(about.get("decoder_tokens", "[]"))),
        image=_image(about, blocks),
    )


def _image(about: Mapping[str, str], blocks: Mapping[str, ArrayBlock]) -> SampleImage | None:
    if IMAGE not in about:
        return None
    known = json.loads(about[IMAGE])
    layers = tuple(PatchedLayer(**layer) for layer in known["layers"])
    return SampleImage(blocks[IMAGE], known["is_stretched"], layers)


def _attentions(about: Mapping[str, str], blocks: Mapping[str, ArrayBlock]) -> Iterator[Attention]:
    for stem, block in blocks.items():
        parsed = paths.parse_stem(stem)
        if parsed is None:
            continue
        stack, layer, type_ = parsed
        yield Attention(
            name=about[f"{stem}.module"],
            stack=stack,
            layer=layer,
            type=type_,
            source=about[f"{stem}.source"],
            heads=tuple(map(int, about[f"{stem}.heads"].split(","))),
            weights=block,
            bias=blocks.get(stem + ALLOWED),
            causal=about[f"{stem}.causal"] == "true",
            earlier=int(about.get(f"{stem}.earlier", "0")),
            note=about[f"{stem}.note"],
        )
