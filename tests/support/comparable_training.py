"""Trainings whose every number can be compared, bit by bit."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from support.models import LanguageModel, batch

STEPS = 50


class StatefulModel(nn.Module):
    """A model whose forward draws from every generator and writes to buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LanguageModel()
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(50, 50))
        self.frozen = nn.BatchNorm1d(50).eval()
        self.register_buffer("average", torch.zeros(50))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.inner(tokens) * (1 + 0.01 * random.random() + 0.01 * np.random.rand())
        logits = self.frozen(self.spectral(logits).transpose(1, 2)).transpose(1, 2)
        self.average.lerp_(logits.detach().mean((0, 1)), 0.1)
        return nn.functional.dropout(logits, 0.1, self.training)


def translation_inputs(model: nn.Module, step: int) -> tuple[Any, Any]:
    """Returns encoder and decoder input of a step."""
    return batch(seed=step), batch(length=9, seed=step)


def text_inputs(model: nn.Module, step: int) -> tuple[Any, Any]:
    """Returns the input of a step of a model without a decoder input."""
    return batch(length=9, seed=step), None


def train(
    make: Callable[[], nn.Module],
    inputs: Callable[[nn.Module, int], tuple[Any, Any]],
    monitor: Any,
) -> dict[str, Any]:
    """Trains from a fixed seed and returns all that the training leaves.

    That is losses, parameters, buffers, gradients, training flags and random states, by name.
    monitor: logs every step, even steps after and odd ones before the optimizer's; or None.
    """
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(STEPS):
        enc, dec = inputs(model, step)
        logits = model(enc) if dec is None else model(enc, dec)
        target = batch(length=9, seed=step + 1)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        if monitor is not None and step % 2:  # between backward and the step, and after it
            monitor.log_attention(model, enc, dec, step, loss.item())
        optimizer.step()
        if monitor is not None and not step % 2:
            monitor.log_attention(model, enc, dec, step, loss.item())
        losses.append(loss.detach().clone())
    return {
        "losses": torch.stack(losses),
        **{f"state {name}": value for name, value in model.state_dict().items()},
        **{f"gradient {name}": p.grad for name, p in model.named_parameters()},
        "training": [module.training for module in model.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr, index]
    }
