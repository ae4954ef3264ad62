"""One layer's attention, as it crosses between the processes."""

from dataclasses import dataclass
from typing import Literal

from attnmon.link.records.layer_summary import LayerSummary
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.schema import require

MASKED_BIAS = -9e3
"""A bias at or below this forbids the key, for both processes.

Models that know no bool masks add -inf, the least number of a dtype (-65504 in float16), -1e9 or
-1e4. bfloat16 rounds -1e4 to -9984, so that -1e4 itself would miss it. Position biases such as
ALiBi's stay far above.
"""
WEAKEST_MASK = -50.0
"""Of a bias that has no other values but 0 and this, or less, that number forbids the key too.

Some windows are masked by -100. A weight is less than 2e-22 then.
"""

Stack = Literal["encoder", "decoder"]
AttentionType = Literal["self_attention", "cross_attention"]


def mask_bound(lowest: float) -> float:
    """Return the largest of the numbers that forbid a key, in a bias of 0 and `lowest` alone."""
    return max(MASKED_BIAS, lowest / 2) if lowest <= WEAKEST_MASK else MASKED_BIAS


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's attention for one sample: its weights, or what they are computed from.

    The weights are ``softmax(softcap(scale · query · keyᵀ) + bias, masked)`` over the keys, before
    dropout, with one more column for ``sinks`` that is left out again after the softmax.
    """

    name: str
    stack: Stack
    layer: int
    type: AttentionType
    source: str
    """The call it was captured from: "scaled_dot_product_attention", "softmax", "recorded", …"""
    heads: tuple[int, ...]
    """Indices, in the model's numbering, of the heads sent."""
    weights: ArrayBlock | None = None
    """[heads, queries, keys]"""
    query: ArrayBlock | None = None
    """[heads, queries, width]"""
    key: ArrayBlock | None = None
    """[key heads, keys, width]; a key head serves heads // key heads query heads in turn."""
    bias: ArrayBlock | None = None
    """Broadcastable to [heads, queries, keys]. bool: True may be attended; float: is added."""
    sinks: ArrayBlock | None = None
    """[heads] A logit for each head that takes part in the softmax, but belongs to no key."""
    scale: float = 1.0
    causal: bool = False
    """Whether query i may attend to the keys 0 … i only."""
    softcap: float = 0.0
    """The logits become softcap · tanh(logits / softcap); 0 leaves them as they are."""
    note: str = ""
    """Why the weights are not exact, or not the whole map; empty when they are both."""
    earlier: int = 0
    """Keys before the first query's own position: of a prefix, or a cache."""
    largest_logits: ArrayBlock | None = None
    """[heads] The largest logit of each head, where the weights are sent and were seen to come of a
    softmax."""
    error: float | None = None
    """‖weights · value − output‖ / ‖output‖ against the layer's own output, where measured."""
    drawn: bool = True
    """Whether pictures of it are asked for; otherwise only its numbers and its maps."""
    summary: LayerSummary | None = None
    """What a device has made of it, in place of query and key; beside them where the renderer is to
    find whether it makes the same of these."""

    def __post_init__(self) -> None:
        require(self.layer >= 0, "layer", self.layer)
        exact = (self.weights is None, self.query is None, self.key is None)
        allowed = {(False, True, True), (True, False, False)}
        if self.summary is not None:
            allowed = {(True, False, False), (True, True, True)}
            require(self.summary.shape == self.shape, "summary", self.summary.shape)
        require(exact in allowed, "weights or query, key", exact)
        for name, dimensions in (("weights", 3), ("query", 3), ("key", 3), ("sinks", 1)):
            block: ArrayBlock | None = getattr(self, name)
            if block is not None:
                require(len(block.shape) == dimensions, name, block.shape)
        self._require_shapes_that_fit()

    def _require_shapes_that_fit(self) -> None:
        heads, _, _ = self.shape
        require(heads == len(self.heads), "heads", self.heads)
        if self.query is not None and self.key is not None:
            require(self.query.shape[2] == self.key.shape[2], "width", self.key.shape)
            key_heads = self.key.shape[0]
            require(key_heads > 0 and heads % key_heads == 0, "key heads", self.key.shape)
        for name in ("sinks", "largest_logits"):
            block: ArrayBlock | None = getattr(self, name)
            require(block is None or block.shape == (heads,), name, block)
        if self.bias is not None:
            require(len(self.bias.shape) <= 3, "bias", self.bias.shape)
            pairs = zip(reversed(self.bias.shape), reversed(self.shape), strict=False)
            require(all(given in (1, full) for given, full in pairs), "bias", self.bias.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(heads, queries, keys)"""
        if self.weights is not None:
            heads, queries, keys = self.weights.shape
            return heads, queries, keys
        if self.query is None and self.summary is not None:
            return self.summary.shape
        assert self.query is not None
        assert self.key is not None
        return self.query.shape[0], self.query.shape[1], self.key.shape[1]

    @property
    def is_summarised(self) -> bool:
        """Whether it was sent by its summary alone, so that there are no single weights."""
        return self.summary is not None and self.query is None

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All arrays that were sent."""
        given = (self.weights, self.query, self.key, self.bias, self.sinks, self.largest_logits)
        summed = () if self.summary is None else self.summary.blocks
        return (*(block for block in given if block is not None), *summed)
