"""What a task is, and what a batch of it holds."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

VOCABULARY = 32


class Batch(NamedTuple):
    """What a model is given, and what it is to say."""

    source: Tensor
    targets: Tensor
    """Class numbers; -100 counts in no loss."""
    decoder: Tensor | None = None
    padding: Tensor | None = None
    """bool [batch, positions] of the source."""


class Task(NamedTuple):
    """A task, and the model that it takes."""

    kind: str
    """ "decoder", "encoder", "both" or "image"."""
    length: int
    classes: int
    batch: Callable[[torch.Generator, int, int, bool], Batch]
    """From a generator, the size, the length and whether the data have changed."""
