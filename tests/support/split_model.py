"""A small model that can be split: stages of layers, and halves of their heads.

Run as a program it is one process of a job that trains it so, or the whole of it.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor

LAYERS, HEADS, WIDTH, LENGTH, BATCH = 4, 4, 16, 6, 3
STAGES, TENSOR_RANKS = 2, 2
STEPS = 4
MOST_STEPS = 2000


class HalfAttention(nn.Module):
    """The heads that one tensor rank has of a layer."""

    def __init__(self) -> None:
        super().__init__()
        inner = WIDTH // TENSOR_RANKS
        self.inward = nn.Linear(WIDTH, 3 * inner, bias=False)
        self.outward = nn.Linear(inner, WIDTH, bias=False)

    def projected(self, x: Tensor) -> list[Tensor]:
        split = self.inward(x).unflatten(-1, (3, HEADS // TENSOR_RANKS, -1))
        return [each.squeeze(2).transpose(1, 2) for each in split.split(1, dim=2)]


class Layer(nn.Module):
    """A layer with both halves, or with that of one tensor rank."""

    def __init__(self, halves: list[HalfAttention], group: "dist.ProcessGroup | None") -> None:
        super().__init__()
        self.halves = nn.ModuleList(halves)
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        projected = [half.projected(x) for half in self.halves]  # type: ignore[operator]
        query, key, value = (torch.cat(parts, 1) for parts in zip(*projected, strict=True))
        attended = F.scaled_dot_product_attention(query, key, value)
        each = attended.chunk(len(self.halves), dim=1)
        total = sum(
            half.outward(part.transpose(1, 2).flatten(2))  # type: ignore[operator, union-attr]
            for half, part in zip(self.halves, each, strict=True)
        )
        assert isinstance(total, Tensor)
        if self.group is not None:
            total = total.detach()  # no test needs gradients
            if not reached(lambda: dist.all_reduce(total, group=self.group)):
                self.group = None  # it goes on with its own heads
        return x + total


def reached(communicate: Callable[[], object]) -> bool:
    """Communicate with peers; False if one of them is gone."""
    try:
        communicate()
    except RuntimeError:
        return False
    return True


def whole_model() -> list[list[HalfAttention]]:
    """Returns the halves of each layer, the same in every process."""
    torch.manual_seed(0)
    return [[HalfAttention() for _ in range(TENSOR_RANKS)] for _ in range(LAYERS)]


def batch(step: int) -> Tensor:
    return torch.randn(BATCH, LENGTH, WIDTH, generator=torch.Generator().manual_seed(step))


def options() -> dict[str, object]:
    return {
        "save_frequency": 1, "layers_to_visualize": "all", "heads_to_visualize": "all",
        "maps": "all", "visualization_types": ["statistics"], "max_overhead": None,
        "on_full": "wait", "use_tensorboard": False,
    }  # fmt: skip


def run_whole(folder: str) -> None:
    layers = nn.Sequential(*(Layer(halves, None) for halves in whole_model()))
    with TrainingAttentionMonitor(folder, **options()) as monitor:  # type: ignore[arg-type]
        monitor.attach(layers)
        for step in range(STEPS):
            x = batch(step)
            layers(x)
            monitor.log_attention(layers, x, step=step, loss=float(step))


def run_part(folder: str, until_loss: bool) -> None:
    """One of four processes.

    `until_loss`: it goes on until a peer is gone, some steps further, and ends by an error.
    """
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    stage, tensor = divmod(rank, TENSOR_RANKS)
    groups = [dist.new_group([first, first + 1]) for first in (0, 2)]
    per_stage = LAYERS // STAGES
    mine = whole_model()[stage * per_stage : (stage + 1) * per_stage]
    layers = nn.Sequential(*(Layer([halves[tensor]], groups[stage]) for halves in mine))
    places = {"pp": (stage, STAGES), "tp": (tensor, TENSOR_RANKS), "dp": (0, 1)}
    monitor = TrainingAttentionMonitor(folder, ranks="model", coordinates=places, **options())  # type: ignore[arg-type]
    monitor.attach(layers)
    step, last = 0, MOST_STEPS if until_loss else STEPS
    while step < last:
        x = batch(step)
        alone = stage == 1 and not reached(lambda x=x: dist.recv(x, rank - TENSOR_RANKS))
        out = layers(x).detach()
        if stage == 0:
            alone = not reached(lambda out=out: dist.send(out, rank + TENSOR_RANKS))
        loss = float(step) if stage == 1 else None
        monitor.log_attention(layers, x, step=step, loss=loss)
        if alone or any(layer.group is None for layer in layers):
            last = min(last, step + STEPS)
        time.sleep(0.02 if until_loss else 0)
        step += 1
    if until_loss:
        raise RuntimeError("a peer is gone")  # with the monitor open
    monitor.close()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 2:
        run_part(sys.argv[1], sys.argv[2] == "until loss")
    else:
        Path(sys.argv[1]).mkdir(exist_ok=True)
        run_whole(sys.argv[1])
