"""Writes `failed/step_100.safetensors`: a capture that killed its workers, for a bug report.

Bytes are copied from the ring as they are. Nothing is computed or drawn, so that what killed the
workers does not kill the recorder too.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.sinks import safetensors
from attnmon_renderer.sinks.safetensors import Tensor
from attnmon_renderer.storage import atomic_files, paths, regular_files

MOST_FAILED_CAPTURES = 5
"""Files written at most: one shows what is wrong, and a few more whether it is always the same."""
NOTICE = (
    "no worker has survived the capture of step {step}; its data is in {path}. Please send it with "
    "a report of the bug, if it holds nothing private: attention shows what the model reads."
)
_PARTS = ("weights", "query", "key", "bias", "sinks")


def save_failed_capture(save_dir: Path, capture: Capture, ring: memoryview) -> Path | None:
    """Save a capture's arrays; return the file, or None when there are enough. Raises OSError.

    The message is in the file's metadata, under "capture", as JSON.
    """
    path = save_dir / paths.FAILED_FOLDER / f"{paths.folder(capture)}.safetensors"
    if len(regular_files.files_in(path.parent)) >= MOST_FAILED_CAPTURES:
        return None
    tensors = [tensor for layer in capture.attentions for tensor in _tensors(layer, ring)]
    if capture.image is not None:
        tensors.append(_tensor("image", capture.image.pixels, ring))
    with atomic_files.replacing(path) as file:
        safetensors.write(file, tensors, {"capture": json.dumps(asdict(capture))})
    return path


def array_bytes(capture: Capture) -> int:
    """Return the size of all arrays of a capture in bytes."""
    return sum(block.nbytes for block in capture.blocks)


def _tensors(layer: Attention, ring: memoryview) -> Iterator[Tensor]:
    for part in _PARTS:
        block = getattr(layer, part)
        if block is not None:
            yield _tensor(f"{paths.stem(layer)}.{part}", block, ring)


def _tensor(name: str, block: ArrayBlock, ring: memoryview) -> Tensor:
    data = ring[block.offset : block.offset + block.nbytes]
    return Tensor(name, block.dtype, block.shape, iter((data,)))
