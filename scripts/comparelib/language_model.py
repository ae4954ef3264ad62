"""A small decoder that reads the project's own documents, and the same one with heads permuted."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CHARACTERS = 96
DOCUMENTS = Path(__file__).parents[2] / "docs"


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Any:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(x.shape))

    @torch.no_grad()
    def permute_heads(self, order: Tensor) -> None:
        """Have head `order[i]` be head i from now on; what the layer computes stays the same."""
        rows = (order[:, None] * self.size + torch.arange(self.size)).flatten()
        width = len(rows)
        qkv = torch.cat([rows, rows + width, rows + 2 * width])
        self.qkv.weight.copy_(self.qkv.weight[qkv])
        self.qkv.bias.copy_(self.qkv.bias[qkv])
        self.out.weight.copy_(self.out.weight[:, rows])


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Any:
        x = x + self.attention(self.norms[0](x))
        return x + self.down(functional.gelu(self.up(self.norms[1](x))))


class LanguageModel(nn.Module):
    """Says the next character.

    Args:
        noise: Standard deviation of what is added between layers, in those of the hidden states.
    """

    def __init__(self, layers: int, heads: int, width: int, length: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(CHARACTERS, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CHARACTERS)
        self.noise = 0.0

    def forward(self, text: Tensor) -> Any:
        x = self.characters(text) + self.positions.weight[: text.shape[1]]
        for block in self.blocks:
            if self.noise:
                x = x + self.noise * x.std() * torch.randn_like(x)
            x = block(x)
        return self.head(self.norm(x))


def read_documents() -> Tensor:
    """Return the project's documents as numbers of characters."""
    content = "\n".join(page.read_text("utf-8") for page in sorted(DOCUMENTS.glob("*.md")))
    numbers = torch.tensor(list(content.encode("ascii", "replace")))
    return (numbers - 32).clamp(0, CHARACTERS - 1)
