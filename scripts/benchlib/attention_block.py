"""The attention of a decoder's block, as people write it with a fused kernel."""

import torch.nn.functional as F
from torch import Tensor, nn


class AttentionBlock(nn.Module):
    """Causal self-attention with a norm before it and a residual around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mixed = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        split = self.mixed(self.norm(hidden)).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return hidden + mixed
