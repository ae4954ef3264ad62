"""A small transformer that can be made wrong in every way in which people make theirs wrong."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from insightlib.batch import Batch
from insightlib.tasks import TASKS


@dataclass(frozen=True)
class Shape:
    """What a model is like, and what is wrong with it."""

    width: int = 48
    heads: int = 4
    layers: int = 2
    norm: str = "pre"
    """ "pre" or "post"."""
    dropout: float = 0.0
    qk_norm: bool = False
    softcap: float = 0.0
    sink: float = 0.0
    """Added to the logits of the first key."""
    scale: float = 0.0
    """Factor of query · key; 0 is 1 / √width."""
    by_hand: bool = False
    """Whether attention is written out in single operations."""
    half: bool = False
    """Whether logits and weights are float16."""
    mask: str = "causal"
    """ "causal", "ahead", "none"."""
    padding: str = "masked"
    """ "masked", "open" or "inverted"."""
    qk_gain: float = 1.0
    """Factor of the initial weights of Q and K."""
    rotary: bool = False
    """Whether queries and keys are turned by their positions."""
    tied_heads: bool = False
    zero_query: bool = False
    ignores_source: bool = False


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.shape, self.size = shape, width // shape.heads
        shown = self.size if shape.tied_heads else width
        self.q, self.k = nn.Linear(width, shown), nn.Linear(width, shown)
        self.v, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.gain = nn.Parameter(torch.full((1,), 4.0)) if shape.qk_norm else None
        with torch.no_grad():
            for layer in (self.q, self.k):
                layer.weight *= shape.qk_gain
            if shape.zero_query:
                self.q.weight.zero_()
                self.q.bias.zero_()

    def forward(self, x: Tensor, memory: Tensor, allowed: Tensor | None) -> Any:
        q, k, v = (self._heads(f(y)) for f, y in ((self.q, x), (self.k, memory), (self.v, memory)))
        scale = self.shape.scale or self.size**-0.5
        if self.gain is not None:
            q = functional.rms_norm(q, (self.size,)) * self.gain
            k = functional.rms_norm(k, (self.size,))
        if self.shape.rotary:
            q, k = _turned(q), _turned(k)
        by_hand = self.shape.by_hand or self.shape.half or self.shape.softcap
        attend = self._by_hand if by_hand else self._fused
        mixed = attend(q, k, v, scale, self._bias(allowed, x.shape[1], memory.shape[1]))
        return self.o(mixed.transpose(1, 2).reshape(*x.shape))

    def _heads(self, x: Tensor) -> Any:
        parts = x.view(*x.shape[:2], -1, self.size).transpose(1, 2)
        return parts.expand(-1, self.shape.heads, -1, -1)

    def _bias(self, allowed: Tensor | None, queries: int, keys: int) -> Tensor | None:
        if allowed is None and not self.shape.sink:
            return None
        bias = torch.zeros(1, 1, queries, keys)
        bias[..., 0] += self.shape.sink
        return bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))

    def _fused(self, q: Any, k: Any, v: Any, scale: float, bias: Any) -> Any:
        p = self.shape.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, scale=scale, dropout_p=p
        )

    def _by_hand(self, q: Any, k: Any, v: Any, scale: float, bias: Any) -> Any:
        scores = (q @ k.transpose(-1, -2)) * scale
        if self.shape.softcap:
            scores = torch.tanh(scores / self.shape.softcap) * self.shape.softcap
        if self.shape.half:
            scores = scores.half()
        if bias is not None:
            scores = scores + bias
        return torch.softmax(scores, dim=-1).to(v.dtype) @ v


def _turned(x: Tensor) -> Any:
    """Return [batch, heads, positions, width] turned by the positions, as RoPE does."""
    *_, positions, width = x.shape
    speeds = 100.0 ** -(torch.arange(width // 2) / (width // 2))
    angles = torch.arange(positions)[:, None] * speeds
    first, second = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


class Block(nn.Module):
    def __init__(self, shape: Shape, *, cross: bool) -> None:
        super().__init__()
        width = shape.width
        self.shape = shape
        self.self_attn = Attention(shape)
        self.cross_attn = Attention(shape) if cross else None
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(
        self, x: Tensor, allowed: Tensor | None, memory: Tensor | None, seen: Tensor | None
    ) -> Any:
        x = self._around(0, x, lambda y: self.self_attn(y, y, allowed))
        if self.cross_attn is not None and memory is not None:
            kept = 0.0 if self.shape.ignores_source else 1.0
            cross = self.cross_attn
            x = self._around(1, x, lambda y: kept * cross(y, memory, seen))
        return self._around(2, x, lambda y: self.down(functional.gelu(self.up(y))))

    def _around(self, index: int, x: Tensor, inner: Any) -> Any:
        norm = self.norms[index]
        if self.shape.norm == "post":
            return norm(x + self._dropped(inner(x)))
        return x + self._dropped(inner(norm(x)))

    def _dropped(self, x: Tensor) -> Any:
        return functional.dropout(x, self.shape.dropout, self.training)


class Transformer(nn.Module):
    """A decoder, an encoder, both, or an encoder of an image's patches."""

    def __init__(self, task: str, shape: Shape) -> None:
        super().__init__()
        self.task, self.shape = TASKS[task], shape
        kind, width = self.task.kind, shape.width
        self.embedding = nn.Embedding(96, width)
        self.patch = nn.Conv2d(1, width, 4, 4) if kind == "image" else None
        self.first = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.1 * torch.randn(1, 128, width))
        layers = range(shape.layers)
        if kind != "decoder":
            self.encoder = nn.ModuleList(Block(shape, cross=False) for _ in layers)
        if kind in ("decoder", "both"):
            self.decoder = nn.ModuleList(Block(shape, cross=kind == "both") for _ in layers)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, self.task.classes)

    def forward(self, source: Tensor, decoder: Tensor | None = None) -> Any:
        kind = self.task.kind
        if kind == "decoder":
            return self.head(self.norm(self._decode(source, None, None)))
        if kind == "image":
            assert self.patch is not None
            x = self.patch(source).flatten(2).transpose(1, 2)
            x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
            return self.head(self.norm(self._encode(x, None))[:, 0])
        seen = self._real(source)
        memory = self._encode(self.embedding(source), seen)
        if decoder is None:
            return self.head(self.norm(memory)[:, 0])
        return self.head(self.norm(self._decode(decoder, memory, seen)))

    def _encode(self, x: Tensor, seen: Tensor | None) -> Any:
        x = x + self.places[:, : x.shape[1]]
        for block in self.encoder:
            x = block(x, seen, None, None)
        return x

    def _decode(self, tokens: Tensor, memory: Tensor | None, seen: Tensor | None) -> Any:
        x = self.embedding(tokens) + self.places[:, : tokens.shape[1]]
        ahead = {"causal": 0, "ahead": 1, "none": tokens.shape[1]}[self.shape.mask]
        allowed = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril(ahead)
        for block in self.decoder:
            x = block(x, None if self.shape.mask == "none" else allowed, memory, seen)
        return x

    def _real(self, source: Tensor) -> Tensor | None:
        real = (source != 0)[:, None, None]
        if self.shape.padding == "open":
            return None
        # The first position is always real, so that no row is empty even where the mask is wrong.
        return real if self.shape.padding == "masked" else ~real | (~real).all(-1, keepdim=True)


def loss_of(model: Transformer, batch: Batch) -> Tensor:
    """Return the cross-entropy of what the model says."""
    said = model(batch.source) if batch.decoder is None else model(batch.source, batch.decoder)
    return functional.cross_entropy(said.flatten(0, -2), batch.targets.flatten())
