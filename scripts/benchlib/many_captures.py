"""Writes a run of a thousand captures: a real one, told again for other steps."""

import json
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor


class Deep(nn.Module):
    """A decoder with as many layers and heads as GPT-2 small, and narrow ones."""

    def __init__(self, layers: int, heads: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8 * heads, heads, 16 * heads, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.layers(
            x, mask=nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        )
        return seen


def write_many(folder: Path, captures: int, layers: int, heads: int, length: int) -> Path:
    """Write such a run below a folder; returns its directory."""
    torch.manual_seed(0)
    model, one, run = Deep(layers, heads), folder / "one", folder / "many"
    with TrainingAttentionMonitor(
        one, 1, layers_to_visualize="all", maps="all", use_tensorboard=False, max_overhead=None,
        on_full="wait",
    ) as monitor:  # fmt: skip
        tokens = [f"token {place}" for place in range(length)]
        inputs = torch.randn(1, length, 8 * heads)
        monitor.log_attention(model, inputs, step=0, loss=1.0, tokens=tokens)
    run.mkdir()
    line = json.loads((one / "history.jsonl").read_text())
    with open(run / "history.jsonl", "w") as history:
        for step in range(captures):
            line["metadata"]["step"] = step
            history.write(json.dumps(line) + "\n")
            _link(one / "step_0", run / f"step_{step}")
    for name in ("summary.json", "run.json"):
        os.link(one / name, run / name)
    return run


def _link(folder: Path, other: Path) -> None:
    """Give the files of a folder a second name in another one."""
    other.mkdir()
    for path in folder.iterdir():
        os.link(path, other / path.name)
