"""A small stored run with raw weights, tokens and masks, for tests of redraw and report."""

from pathlib import Path

import torch

import support.pictures  # noqa: F401  # opens matplotlib's fonts before the leak check of a test
from attnmon import TrainingAttentionMonitor
from support.models import Translator, batch

KINDS = ("heatmap", "multi_head", "layer_comparison", "alignment", "head_matrix", "rollout",
         "surface3d", "animation", "timeline")  # fmt: skip
STEPS = (0, 2, 4)
QUERIES, KEYS = 9, 11
HOSTILE = "<script>alert('&\"')</script>"
"""A token that would do harm if it got into HTML unescaped."""


def train_with_raw_weights(folder: Path) -> None:
    """Trains a model with a causal mask. Captures every layer three times, in all pictures."""
    torch.manual_seed(0)
    source, target = batch(1, KEYS), batch(1, QUERIES)
    tokens = ([HOSTILE, *"0123456789"], list("abcdefghi"))
    model = Translator()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with TrainingAttentionMonitor(
        folder,
        save_frequency=2,
        save_on_epochs=[7],
        visualization_types=[*KINDS, "statistics"],
        layers_to_visualize="all",
        heads_to_visualize="all",
        save_raw_weights=True,
        maps=None,
        max_overhead=None,
        on_full="wait",
    ) as monitor:
        for step in range(5):
            loss = model(batch(4, KEYS, step), batch(4, QUERIES, step)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            epoch = 7 if step == STEPS[-1] else 1
            monitor.log_attention(
                model, source, target, step, loss.item(), epoch=epoch, tokens=tokens
            )
