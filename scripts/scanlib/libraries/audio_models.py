"""The models of torchaudio that attend."""

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scanlib.architecture import SAMPLES, Architecture, Built, prepared

WIDTH, FRAMES = 32, 12


class WithLengths(nn.Module):
    """A model that is also given how long each sound is."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        found: Tensor = self.inner(frames, lengths)[0]
        return found


def architectures() -> Iterator[Architecture]:
    """Yields Conformer, Emformer and wav2vec 2.0 in two ways."""
    models: Any = importlib.import_module("torchaudio.models")
    conformer = partial(models.Conformer, WIDTH, 4, 64, 2, 3)
    emformer = partial(models.Emformer, WIDTH, 4, 64, 2, 4, right_context_length=1)
    yield Architecture("torchaudio/Conformer", partial(_with_lengths, conformer))
    yield Architecture("torchaudio/Emformer", partial(_with_lengths, emformer, 1))
    for norm_first in (False, True):
        build = partial(_wav2vec, models, norm_first)
        name = "norm first" if norm_first else "norm last"
        yield Architecture(f"torchaudio/Wav2Vec2Model, {name}", build)


def _with_lengths(make: Any, context: int = 0) -> Built:
    torch.manual_seed(0)
    frames = torch.randn(SAMPLES, FRAMES + context, WIDTH)
    return prepared(WithLengths(make()), (frames, torch.full((SAMPLES,), FRAMES)))


def _wav2vec(models: Any, norm_first: bool) -> Built:
    torch.manual_seed(0)
    model = models.wav2vec2_model(
        "layer_norm", [(16, 10, 5), (16, 3, 2), (16, 3, 2)], True, WIDTH, 0.1, 8, 2, 2, 4, 0.1,
        64, 0.1, 0.1, norm_first, 0.0, 5,
    )  # fmt: skip
    return prepared(model, torch.randn(SAMPLES, 800))
