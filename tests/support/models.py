"""Small models as people write them."""

import torch
from torch import Tensor, nn

VOCABULARY = 50

torch.set_num_threads(1)  # the tests share the machine with the renderers they start


class Translator(nn.Module):
    """An encoder-decoder of `nn.Transformer`, with dropout and a BatchNorm to be disturbed."""

    def __init__(self, layers: int = 2, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.norm = nn.BatchNorm1d(width)
        self.transformer = nn.Transformer(
            width, heads, layers, layers, 2 * width, dropout=0.1, batch_first=True
        )
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        source = self.norm(self.embedding(source).transpose(1, 2)).transpose(1, 2)
        hidden = self.transformer(source, self.embedding(target), tgt_mask=mask)
        logits: Tensor = self.head(hidden)
        return logits


class LanguageModel(nn.Module):
    """Decoder-only: causal attention by `scaled_dot_product_attention`."""

    def __init__(self, layers: int = 2, heads: int = 4, width: int = 32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.blocks = nn.ModuleList(CausalAttention(heads, width) for _ in range(layers))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class CausalAttention(nn.Module):
    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.projection(hidden).split(width, dim=-1)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(batch, length, width)


def batch(size: int = 4, length: int = 11, seed: int = 0) -> Tensor:
    """Returns random tokens [size, length], the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (size, length), generator=generator)
