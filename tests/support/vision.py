"""A small vision transformer with a class token and registers, and images for it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 8


class TinyAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class TinyVision(nn.Module):
    """Its first class token stands before the registers, and these before the patches."""

    def __init__(self, classes: int = 1, registers: int = 2, layers: int = 2) -> None:
        super().__init__()
        width = 16
        self.patch_embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.cls_token = nn.Parameter(torch.randn(1, classes, width)) if classes else None
        self.register_tokens = nn.Parameter(torch.randn(1, registers, width)) if registers else None
        self.blocks = nn.ModuleList(TinyAttention(width, 2) for _ in range(layers))

    def forward(self, images: Tensor) -> Tensor:
        x = torch.cat([*self._learned(len(images)), self.patch_embed(images).flatten(2).mT], dim=1)
        for block in self.blocks:
            x = x + block(3 * x)
        return x.mean(dim=(1, 2))

    def _learned(self, samples: int) -> Iterator[Tensor]:
        for tokens in (self.cls_token, self.register_tokens):
            if tokens is not None:
                yield tokens.expand(samples, -1, -1)


def images(samples: int, rows: int, columns: int) -> Tensor:
    """Returns images [samples, 3, rows, columns], normalised as they are for training."""
    return torch.randn(samples, 3, rows, columns, generator=torch.Generator().manual_seed(rows))
