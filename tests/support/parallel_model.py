"""An encoder-decoder model with fewer key heads than query heads, split by PyTorch's own means.

Run as a program it is one of two processes that hold the model together.
"""

import sys

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    ParallelStyle,
    RowwiseParallel,
    parallelize_module,
)

from attnmon import TrainingAttentionMonitor

WIDTH, HEADS, KEY_HEADS, HEAD_WIDTH, STEPS, TENSOR_RANKS = 16, 4, 2, 4, 3, 2


class GroupedAttention(nn.Module):
    """Attention whose heads share keys in groups; it has as many heads as its weights."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.query = nn.Linear(WIDTH, HEADS * HEAD_WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, KEY_HEADS * HEAD_WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, KEY_HEADS * HEAD_WIDTH, bias=False)
        self.outward = nn.Linear(HEADS * HEAD_WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        query, key, value = (
            project(source).unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2)
            for project, source in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        attended = F.scaled_dot_product_attention(
            query, key, value, is_causal=self.causal, enable_gqa=True
        )
        out: Tensor = self.outward(attended.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    """Attention to itself and, in a decoder, to the encoder's output."""

    def __init__(self, decodes: bool) -> None:
        super().__init__()
        self.self_attn = GroupedAttention(causal=decodes)
        if decodes:
            self.cross_attn = GroupedAttention(causal=False)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        x = x + self.self_attn(x, x)
        return x if memory is None else x + self.cross_attn(x, memory)


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Block(decodes=False) for _ in range(2))
        self.decoder = nn.ModuleList(Block(decodes=True) for _ in range(2))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        for block in self.encoder:
            source = block(source)
        for block in self.decoder:
            target = block(target, source)
        return target


def whole_model() -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder()


def train(model: nn.Module, folder: str, **options: object) -> None:
    """Train some steps, watched; the model is the whole or a part of it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with TrainingAttentionMonitor(
        folder, save_frequency=1, layers_to_visualize="all", heads_to_visualize="all", maps="all",
        max_overhead=None, on_full="wait", use_tensorboard=False, **options,  # type: ignore[arg-type]
    ) as monitor:  # fmt: skip
        monitor.attach(model)
        for step in range(STEPS):
            chance = torch.Generator().manual_seed(step)
            source, target = (torch.randn(2, n, WIDTH, generator=chance) for n in (7, 5))
            loss = model(source, target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log_attention(model, source, target, step=step, loss=loss.item())


def plan() -> dict[str, ParallelStyle]:
    colwise = {f"*.*.*.{name}": ColwiseParallel() for name in ("query", "key", "value")}
    return {**colwise, "*.*.*.outward": RowwiseParallel()}


def run_part(folder: str) -> None:
    mesh = init_device_mesh("cpu", (1, TENSOR_RANKS), mesh_dim_names=("dp", "tp"))
    train(parallelize_module(whole_model(), mesh["tp"], plan()), folder, ranks="model")
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_part(sys.argv[1])
