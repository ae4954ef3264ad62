"""What was seen of one attention call: its tensors, as they were, and how they combine.

Knows nothing of how calls are found, nor of what is made of them.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attnmon.link.masking import MASKED_BIAS


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One attention call: either `weights`, or the `query` and `key` they follow from.

    The weights are ``softmax(softcap(scale · query · keyᵀ) + bias, masked)`` over the keys, before
    dropout, with one more column for `sinks` that is left out again after the softmax. Tensors are
    detached and share memory with the model's own: copy what is to be kept.
    """

    name: str
    """Of the module, wrappers' prefixes stripped; empty when unknown or the model itself."""
    call_index: int
    """Which attention call of this module in this forward, from 0 (tied layers repeat a name)."""
    source: str
    """The call it was seen in: "scaled_dot_product_attention", "softmax", …"""
    heads: int
    query: Tensor | None = None
    """[batch, heads, queries, width]"""
    key: Tensor | None = None
    """[batch, key heads, keys, width]; a key head serves heads // key heads heads in turn."""
    weights: Tensor | None = None
    """[batch, heads, queries, keys], before dropout."""
    bias: Tensor | None = None
    """Broadcastable to [batch, heads, queries, keys]. Bool: True may be attended; float: added."""
    value: Tensor | None = None
    """[batch, key heads, keys, value width], where known."""
    output: Tensor | None = None
    """[batch, heads, queries, value width]: the call's own result; None with dropout."""
    scale: float = 1.0
    causal: bool = False
    """Query i sees the keys 0 … i."""
    softcap: float = 0.0
    """The logits become softcap · tanh(logits / softcap); 0 is none."""
    sinks: Tensor | None = None
    """[heads]: a logit each that takes part in the softmax and is no key."""
    note: str = ""
    """Why the map is only approximate; empty when it is exact."""
    rounding: torch.dtype | None = None
    """What autocast rounds query, key, value and bias to inside the kernel; `of_sample` does."""
    look: tuple[object, ...] | None = None
    """All that this follows from but values, where its call can be told by it (`PlainCall`)."""

    @property
    def batch(self) -> int:
        """Samples in it; 1 for what `of_sample` returned."""
        shape = self._shape
        return shape[0] if len(shape) == 4 else 1

    @property
    def is_on_cpu(self) -> bool:
        """Whether its values can be read without waiting for a device."""
        seen = self.query if self.weights is None else self.weights
        return seen is not None and seen.device.type == "cpu"

    @property
    def queries(self) -> int:
        return self._shape[-2]

    @property
    def keys(self) -> int:
        return self._shape[-1] if self.key is None else self.key.shape[-2]

    @property
    def _shape(self) -> torch.Size:
        seen = self.query if self.weights is None else self.weights
        assert seen is not None
        return seen.shape

    def of_one(self, sample: int, samples: int) -> "AttentionCall":
        """`of_sample` by the sample's index in a model's batch of so many `samples`; 0 is unknown.

        Attention in windows has several entries to a sample: its first is taken, and noted.
        """
        each, rest = divmod(self.batch, samples) if samples else (1, 0)
        if rest or each < 2:
            return self.of_sample(min(sample, self.batch - 1))
        first = self.of_sample(sample * each)
        return replace(first, note=first.note or f"only the first of {each} windows of this sample")

    def of_sample(self, index: int) -> "AttentionCall":
        """The same for one sample, the batch dimension gone: views, or rounded copies.

        Raises `IndexError` when the batch has no such sample.
        """
        if not 0 <= index < self.batch:
            raise IndexError(f"sample {index} of a batch of {self.batch}")
        return replace(
            self,
            query=one_of(self.query, index, self.rounding),
            key=one_of(self.key, index, self.rounding),
            weights=one_of(self.weights, index),
            bias=self.bias_of(index),
            value=one_of(self.value, index, self.rounding),
            output=one_of(self.output, index),
            rounding=None,
        )

    def bias_of(self, index: int) -> Tensor | None:
        """One sample's mask, of a batch's or of one for all."""
        return one_of(self.bias, index, self.rounding)


def with_evident_mask(call: AttentionCall) -> AttentionCall:
    """Weights of one sample that come without their mask, with what of it they show themselves.

    A softmax gives exactly 0 to what was forbidden: nothing above the diagonal is a causal mask, a
    key that no query of any head attends to is padding. Reads the tensors.
    """
    weights = call.weights
    if weights is None or call.bias is not None or 0 in weights.shape:
        return call
    attended = (weights != 0).any(-2).any(-2)
    bias = None if bool(attended.all()) else attended[None, None]
    return replace(call, causal=is_causal(call), bias=bias)


def is_causal(call: AttentionCall) -> bool:
    """Whether no query of this sample sees a later key. Reads the tensors: for discovery only.

    Rows that see all keys alike, or none, are padding: they say nothing, nor does a single query.
    """
    if call.causal or call.queries < 2:
        return call.causal
    allowed, padding = _allowed(call)
    if allowed is None or padding is None:
        return False
    telling = allowed.any(-1) & ~padding
    sees_later = allowed.triu(1).any(-1)
    return bool(telling.any()) and not bool((telling & sees_later).any())


def _allowed(call: AttentionCall) -> tuple[Tensor | None, Tensor | None]:
    """Which keys each query sees, [..., queries, keys]; and of which nothing can be told."""
    weights, bias = call.weights, call.bias
    if weights is not None:
        allowed = weights > 0
        alike = allowed.all(-1) & (weights == weights[..., :1]).all(-1)
        return allowed, alike
    if bias is None:
        return None, None
    allowed = bias if bias.dtype == torch.bool else bias > MASKED_BIAS
    allowed = allowed.expand(*allowed.shape[:-2], call.queries, call.keys)
    return allowed, allowed.all(-1)


def one_of(tensor: Tensor | None, index: int, rounding: torch.dtype | None = None) -> Tensor | None:
    """One sample's part of a batch's tensor, or of one for all; rounded as autocast does."""
    if tensor is None:
        return None
    if tensor.dim() >= 4:
        tensor = tensor[0 if tensor.shape[0] == 1 else index]
    is_rounded = rounding is not None and tensor.is_floating_point()
    return tensor.to(rounding) if is_rounded else tensor


def default_scale(query: Tensor) -> float:
    """1 / √width (Vaswani et al. 2017, equation 1); 1 for a width of 0."""
    return 1.0 / math.sqrt(query.shape[-1] or 1)
