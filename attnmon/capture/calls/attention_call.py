"""One attention call: its tensors, and how they combine into weights."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from attnmon.capture.lineage.layout import Layout, join_notes
from attnmon.link.records.attention_record import MASKED_BIAS, mask_bound


class UnknownOrder(ValueError):
    """A call whose entries cannot be told apart: which is of which sample, head or window."""

    def __init__(self, entries: int, samples: int) -> None:
        super().__init__(
            f"it has {entries} maps for {samples} samples, and it is not known which is whose: "
            "give its weights to record()"
        )


class LargestLogits(NamedTuple):
    """The largest logits of heads, where a softmax was seen at work."""

    sample: int | None
    """Index in the batch of the one sample that was looked at; None for all samples."""
    values: Tensor
    """[heads] of the one sample, or [samples, heads]."""

    def of_sample(self, index: int) -> "LargestLogits | None":
        """Returns those of one sample; None if they are of another."""
        if self.sample is None:
            return LargestLogits(index, self.values[index])
        return self if self.sample == index else None


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One attention call: either its `weights`, or the `query` and `key` to compute them from.

    The weights are ``softmax(softcap(scale · query · keyᵀ) + bias, masked)`` over the keys, before
    dropout, with one more column for `sinks` that is removed after the softmax. Tensors are
    detached and share memory with the model's own: copy what is to be kept.
    """

    name: str
    """Module name without the prefixes of wrappers; empty if unknown or the model itself."""
    call_index: int
    """Number of this module's attention calls before this one in the forward.

    Tied layers share a name and differ in this.
    """
    source: str
    """Function that computed it: "scaled_dot_product_attention", "softmax", …"""
    heads: int
    """Number of query heads."""
    query: Tensor | None = None
    """[batch, heads, queries, width]"""
    key: Tensor | None = None
    """[batch, key heads, keys, width]; one key head serves heads // key heads heads in a row."""
    weights: Tensor | None = None
    """[batch, heads, queries, keys], before dropout; None if query and key are given."""
    bias: Tensor | None = None
    """Mask, broadcastable to [batch, heads, queries, keys].

    Bool: True where the query may attend to the key. Float: added to the logits.
    """
    value: Tensor | None = None
    """[batch, key heads, keys, value width]; None if unknown."""
    output: Tensor | None = None
    """[batch, heads, queries, value width], the call's own result; None after dropout."""
    scale: float = 1.0
    """Factor of query · keyᵀ."""
    causal: bool = False
    """Whether query i sees only the keys 0 … i."""
    softcap: float = 0.0
    """If not 0, the logits become softcap · tanh(logits / softcap)."""
    sinks: Tensor | None = None
    """[heads] One additional logit for each head, which takes part in the softmax but is no key."""
    note: str = ""
    """What was assumed or left out; empty if the weights are exact and the whole map."""
    rounding: torch.dtype | None = None
    """Dtype to which autocast rounds query, key, value and bias inside the kernel.

    `of_sample` applies it. None if there is no rounding.
    """
    signature: tuple[object, ...] | None = None
    """`SdpaCall.signature` of the call; None for other functions and layouts."""
    layout: Layout | None = None
    """Where the model's tensors held samples and heads; None if that could not be established.

    With it, the batch is the model's own.
    """
    is_cross: bool | None = None
    """Whether the keys come from another input or stack than the queries; None if unknown."""
    largest_logits: LargestLogits | None = None
    """Where its weights are given, and what their softmax was given was seen."""

    @property
    def batch(self) -> int:
        """Number of samples; 1 for the result of `of_sample`."""
        shape = self._main.shape
        return shape[0] if len(shape) == 4 else 1

    @property
    def is_on_cpu(self) -> bool:
        """Whether its values can be read without waiting for a device."""
        return self._main.device.type == "cpu"

    @property
    def queries(self) -> int:
        """Number of query positions."""
        return self._main.shape[-2]

    @property
    def keys(self) -> int:
        """Number of key positions."""
        return self._main.shape[-1] if self.key is None else self.key.shape[-2]

    @property
    def earlier(self) -> int:
        """Number of keys before the first query's own: of a prefix, or a cache."""
        known = self.layout is not None and self.layout.has_earlier_keys
        return self.keys - self.queries if known else 0

    @property
    def _main(self) -> Tensor:
        """The weights, or the query where there are none."""
        tensor = self.query if self.weights is None else self.weights
        assert tensor is not None
        return tensor

    def of_model_sample(self, sample: int, samples: int) -> "AttentionCall":
        """Returns the call for one sample of the model's batch, which may differ from the call's.

        sample: index in the model's batch. samples: size of that batch; 0 if unknown.

        Raises `UnknownOrder` for a call with entries of which it is not known whose they are.
        """
        is_known = self.layout is not None or self.batch in (1, samples) or not samples
        if not is_known:
            raise UnknownOrder(self.batch, samples)
        one = self.of_sample(min(sample, self.batch - 1))
        if self.layout is None and self.batch == 1 < samples:
            one = replace(one, note=join_notes(one.note, f"one map for all {samples} samples"))
        return one

    def of_sample(self, index: int) -> "AttentionCall":
        """Returns the call for one entry of its batch, without the batch dimension.

        Its tensors are views, or copies where autocast rounds them. Raises `IndexError` if the
        batch has no such entry.
        """
        if not 0 <= index < self.batch:
            raise IndexError(f"sample {index} of a batch of {self.batch}")
        peaks = self.largest_logits
        return replace(
            self,
            query=sample_of(self.query, index, self.rounding),
            key=sample_of(self.key, index, self.rounding),
            weights=sample_of(self.weights, index),
            bias=self.bias_of(index),
            value=sample_of(self.value, index, self.rounding),
            output=sample_of(self.output, index),
            largest_logits=None if peaks is None else peaks.of_sample(index),
            rounding=None,
        )

    def bias_of(self, index: int) -> Tensor | None:
        """Returns the mask of one sample, broadcastable to [heads, queries, keys]."""
        return sample_of(self.bias, index, self.rounding)


def with_evident_mask(call: AttentionCall) -> AttentionCall:
    """Returns one sample's call with the mask that its weights imply, if it has no mask.

    A softmax gives exactly 0 to a masked key: if nothing is above the diagonal, the mask is causal;
    a key that no query of any head attends to is padding. Reads the tensors.
    """
    weights = call.weights
    if weights is None or call.bias is not None or 0 in weights.shape:
        return call
    attended = (weights != 0).any(-2).any(-2)
    bias = None if bool(attended.all()) else attended[None, None]
    return replace(call, causal=is_causal(call), bias=bias)


def is_causal(call: AttentionCall, earlier: int = 0, further: int = 0) -> bool:
    """Returns whether no query of this sample sees a later key.

    earlier: number of keys before the first query's own: of a prefix, or a cache. further: number
    of keys after the last query's own, which every query sees: learned ones, or of zeros.

    Rows that see all keys alike, or none, are padding and are ignored. A single query tells
    nothing. Reads the tensors, which waits for a device: for discovery only.
    """
    if call.causal or call.queries < 2:
        return call.causal
    allowed, padding = _allowed_and_padding(call)
    if allowed is None or padding is None:
        return False
    informative = allowed.any(-1) & ~padding
    own = allowed[..., : call.keys - further]
    sees_later = own.triu(1 + earlier).any(-1) | ~allowed[..., call.keys - further :].all(-1)
    return bool(informative.any()) and not bool((informative & sees_later).any())


def _allowed_and_padding(call: AttentionCall) -> tuple[Tensor | None, Tensor | None]:
    """Returns which keys each query sees, [..., queries, keys], and which queries are padding."""
    weights, bias = call.weights, call.bias
    if weights is not None:
        allowed = weights > 0
        uniform = allowed.all(-1) & (weights == weights[..., :1]).all(-1)
        return allowed, uniform
    if bias is None:
        return None, None
    allowed = bias if bias.dtype == torch.bool else bias > _bound_of(bias)
    allowed = allowed.expand(*allowed.shape[:-2], call.queries, call.keys)
    return allowed, allowed.all(-1)


def _bound_of(bias: Tensor) -> float:
    """Returns the largest of the numbers by which a bias forbids a key."""
    lowest = float(bias.min()) if bias.numel() else 0.0
    bound = mask_bound(lowest)
    is_mask = bound > MASKED_BIAS and bool(((bias == 0) | (bias == lowest)).all())
    return bound if is_mask else MASKED_BIAS


def sample_of(
    tensor: Tensor | None, index: int, rounding: torch.dtype | None = None
) -> Tensor | None:
    """Returns one sample of a batched tensor, or a tensor for all samples, rounded."""
    if tensor is None:
        return None
    if tensor.dim() >= 4:
        tensor = tensor[0 if tensor.shape[0] == 1 else index]
    is_rounded = rounding is not None and tensor.is_floating_point()
    return tensor.to(rounding) if is_rounded else tensor


def default_scale(query: Tensor) -> float:
    """Returns 1 / √width (Vaswani et al. 2017, equation 1); 1 for a width of 0."""
    return 1.0 / math.sqrt(query.shape[-1] or 1)
