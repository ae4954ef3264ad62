"""Trains one model under a monitor that looks at the same text at every due step."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from attnmon import LightweightAttentionMonitor
from comparelib.language_model import CHARACTERS, LanguageModel, read_documents

Change = Callable[[LanguageModel], None]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how it is looked at."""

    layers: int = 2
    heads: int = 4
    width: int = 32
    length: int = 48
    batch: int = 8
    steps: int = 120
    every: int = 20
    lr: float = 1e-3
    weight_decay: float = 0.01
    probe_at: int = 0
    """Where in the documents the text begins that is looked at."""
    maps: bool = False


def train(recipe: Recipe, seed: int, folder: Path, change: Change | None = None) -> Path:
    """Train, unless the folder has been written before; returns it.

    Args:
        change: Is made to the model after the last step but one capture, and is seen in the last.
    """
    if not (folder / "done").exists():
        _Training(recipe, seed, folder, change).run()
        (folder / "done").touch()
    return folder


class _Training:
    def __init__(self, recipe: Recipe, seed: int, folder: Path, change: Change | None) -> None:
        self._of, self._seed, self._folder, self._change = recipe, seed, folder, change
        torch.manual_seed(seed)
        self._generator = torch.Generator().manual_seed(10_000 + seed)
        self._model = LanguageModel(recipe.layers, recipe.heads, recipe.width, recipe.length)
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
        )
        self._text = read_documents()

    def run(self) -> None:
        of = self._of
        config = {"lr": of.lr, "weight_decay": of.weight_decay, "seed": self._seed}
        probe = self._text[of.probe_at : of.probe_at + of.length][None]
        with LightweightAttentionMonitor(
            str(self._folder), of.every, probe=probe, maps="all" if of.maps else None,
            config=config, use_tensorboard=False, max_overhead=None, on_full="wait",
        ) as monitor:  # fmt: skip
            for step in range(of.steps + 1):
                batch = self._batch()
                loss = self._learn(batch)
                if step == of.steps and self._change is not None:
                    self._change(self._model)
                monitor.log_attention(self._model, batch[:, :-1], step=step, loss=loss)
            accounts = monitor.close()
        if accounts["rendered"] != accounts["captured"]:
            raise RuntimeError(f"{self._folder}: {accounts}")

    def _batch(self) -> Any:
        most = len(self._text) - self._of.length - 1
        starts = torch.randint(0, most, (self._of.batch, 1), generator=self._generator)
        return self._text[starts + torch.arange(self._of.length + 1)]

    def _learn(self, batch: torch.Tensor) -> float:
        logits = self._model(batch[:, :-1])
        loss = functional.cross_entropy(logits.reshape(-1, CHARACTERS), batch[:, 1:].flatten())
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()
