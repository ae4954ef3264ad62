"""Tells batches apart by what is in them, so that runs can be known to show the same text."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from attnmon.capture.model.input_parts import DEEPEST, is_array, parts_of

LENGTH = 16
"""Characters of a fingerprint."""

_SIMPLE = (str, int, float, bool, type(None))


def fingerprint(batch: Any) -> str | None:
    """Return some characters that differ if batches do; None for tensors that cannot be read.

    The order of a mapping's names does not matter, nor the device. A tensor on a device is copied,
    which waits for it.
    """
    found = hashlib.sha256()
    try:
        for part in _parts(batch, "", DEEPEST):
            found.update(part)
    except (TypeError, ValueError, RuntimeError):  # such as a tensor of a kind without memory
        return None
    return found.hexdigest()[:LENGTH]


def _parts(value: Any, name: str, depth: int) -> Iterator[bytes]:
    if type(value) in (torch.Tensor, nn.Parameter):
        plain = value.detach().cpu().contiguous()
        yield f"{name}: {plain.dtype} {tuple(plain.shape)} ".encode().replace(b"torch.", b"")
        yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    elif is_array(value):
        yield f"{name}: {value.dtype} {value.shape} ".encode()
        yield value.tobytes()
    elif isinstance(value, torch.Tensor):
        raise TypeError(f"{type(value).__name__} may be spread over processes")
    elif type(value) in _SIMPLE:
        yield f"{name}: {value!r} ".encode()
    elif depth:
        inner = sorted(enumerate(parts_of(value)), key=lambda each: (each[1][0], each[0]))
        for _, (key, part) in inner:
            yield from _parts(part, f"{name}/{key}", depth - 1)
