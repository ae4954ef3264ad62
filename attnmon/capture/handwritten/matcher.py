"""Makes an `AttentionCall` of the product in which hand-written attention sums its values."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from attnmon.capture.calls.adapter import CallSite
from attnmon.capture.calls.attention_call import AttentionCall, LargestLogits
from attnmon.capture.calls.kernel_shapes import assumption_note
from attnmon.capture.calls.shapes import ShapeError, key_to_4d, to_4d
from attnmon.capture.handwritten.einsum import EinsumTerms
from attnmon.capture.lineage.element_labels import Labels
from attnmon.capture.lineage.layout import Layout, join_notes

HANDWRITTEN = "softmax"
"""`AttentionCall.source` of hand-written attention."""

_ASSUMED = "what is done to query · key before the softmax could not be followed"


class RowLogits(NamedTuple):
    """The largest logit of each query, which a softmax was given."""

    sample: int | None
    """The one index of the first dimension that was looked at; None for all."""
    values: Tensor
    """Shaped as the scores, with a single key. Of one sample it stands for all of them: the first
    dimension has no stride, by which it is found again."""

    @classmethod
    def of(cls, scores: Tensor, keys_dim: int, sample: int | None) -> "RowLogits":
        """Returns those of scores, with a pass over one sample or all."""
        if sample is None:
            return cls(None, scores.amax(keys_dim, keepdim=True))
        index = min(sample, len(scores) - 1)
        one = scores[index : index + 1].amax(keys_dim, keepdim=True)
        return cls(index, one.expand(len(scores), *one.shape[1:]))

    def of_heads(self, arranged: Tensor) -> LargestLogits | None:
        """Returns each head's, of the values as [samples, heads, queries, 1].

        None where the one that was looked at is no sample of these.
        """
        if self.sample is None:
            return LargestLogits(None, arranged.amax((-1, -2)))
        is_of_samples = len(arranged) == len(self.values) and arranged.stride(0) == 0
        if not is_of_samples and len(self.values) > 1:
            return None
        return LargestLogits(self.sample, arranged[0].amax((-1, -2)))


@dataclass(frozen=True, slots=True, eq=False)
class ValueProduct:
    """A product of softmax weights with another tensor: attention, if it sums over the keys."""

    softmax_index: int
    """Number of softmaxes over scores before this one in the forward."""
    weights: Tensor
    """The weights as they left the softmax, before dropout."""
    value: Tensor
    """The other factor."""
    output: Tensor
    """The product."""
    keys_dim: int
    """Dimension that the softmax normalised, counted from the end: negative."""
    had_dropout: bool
    """Whether dropout was applied to the weights before the product."""
    weights_first: bool
    """Whether the weights were the first factor."""
    equation: str = ""
    """Equation of an einsum; empty for a matrix product."""
    labels: Labels | None = None
    """Labels of the weights; None if they are not known."""
    missing_keys: int = 0
    """Number of keys that took part in the softmax, and are not among these weights."""
    is_changed: bool = False
    """Whether something was computed with the weights after the softmax."""
    is_assumed: bool = False
    """Whether the softmax is taken to be one over query · key by its shape and place alone."""
    row_logits: RowLogits | None = None
    """What the softmax was given at most, where that was seen."""

    def to_call(self, site: CallSite) -> AttentionCall | None:
        """Returns the call; None if the product sums over another dimension than the softmax."""
        tensors = self.tensors()
        if tensors is None:
            return None
        if site.layout is None:
            weights, value, output = _by_shape(tensors, site.heads, bool(self.equation))
            note = assumption_note(tensors.weights, site.heads)
        else:
            weights, value, output = _by_layout(tensors, site.layout)
            note = site.layout.note
        if self.had_dropout:
            output = None
        return AttentionCall(
            name=site.name,
            call_index=site.call_index,
            source=HANDWRITTEN,
            heads=weights.shape[1],
            weights=weights.detach(),
            value=None if value is None else value.detach(),
            output=None if output is None else output.detach(),
            note=join_notes(note, self._note),
            layout=site.layout,
            is_cross=site.is_cross,
            largest_logits=self._logits(site),
        )

    def _logits(self, site: CallSite) -> LargestLogits | None:
        """Returns the largest logits of the call's samples and heads."""
        if self.row_logits is None:
            return None
        rows = replace(self, weights=self.row_logits.values).tensors()
        if rows is None:
            return None
        if site.layout is None:
            arranged = _weights_by_shape(rows.weights, site.heads, bool(self.equation))
        else:
            arranged = site.layout.arrange(rows.weights)
        return self.row_logits.of_heads(arranged)

    @property
    def _note(self) -> str:
        missing = self.missing_keys
        # One is a sink, as fused kernels have them: it takes part in the softmax and is no key.
        return join_notes(
            f"without {missing} more keys that its softmax is over" if missing > 1 else "",
            "changed after the softmax: rows need not sum to 1" if self.is_changed else "",
            _ASSUMED if self.is_assumed else "",
        )

    def tensors(self) -> "ProductTensors | None":
        """Returns the tensors; None if the product sums over another dimension than the softmax."""
        if self.equation:
            return self._einsum_tensors()
        if self.keys_dim != (-1 if self.weights_first else -2):
            return None
        if self.weights_first:
            weights, value, output = self.weights, self.value, self.output
        else:
            weights, value, output = self.weights.mT, self.value.mT, self.output.mT
        # The weights are those that left the softmax; the product may have folded dimensions.
        return ProductTensors(weights, value, output.reshape(*weights.shape[:-1], output.shape[-1]))

    def leading_labels(self) -> Labels | None:
        """Returns the labels of `ProductTensors.weights`; None if they are not known."""
        labels, tensors = self.labels, self.tensors()
        if labels is None or tensors is None:
            return None
        shape = tensors.weights.shape
        terms = EinsumTerms.read(self.equation, 0 if self.weights_first else 1)
        if terms is not None:
            return labels.mapped(shape, terms.weights_of)
        return labels if self.weights_first else labels.mapped(shape, lambda label: label.mT)

    def _einsum_tensors(self) -> "ProductTensors | None":
        terms = EinsumTerms.read(self.equation, 0 if self.weights_first else 1)
        if terms is None or len(terms.weights) != self.weights.dim():
            return None
        if terms.weights[self.keys_dim] != terms.keys:
            return None
        return ProductTensors(
            terms.weights_of(self.weights),
            terms.value_of(self.value),
            terms.output_of(self.output),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ProductTensors:
    """The tensors of a product of weights and values, with leading dimensions in one order."""

    weights: Tensor
    """[*leading, queries, keys]"""
    value: Tensor
    """[*leading, keys, width], or what broadcasts to it."""
    output: Tensor
    """[*leading, queries, width]"""


_Arranged = tuple[Tensor, Tensor | None, Tensor | None]
"""Weights, value and output as in `AttentionCall`; None where they are not known."""


def _by_layout(tensors: ProductTensors, layout: Layout) -> _Arranged:
    weights = layout.arrange(tensors.weights)
    if layout.row_splits:  # of value and output it is not known how they follow the rows
        return weights, None, None
    try:
        value = tensors.value.expand(*tensors.weights.shape[:-2], *tensors.value.shape[-2:])
    except RuntimeError:  # it has other leading dimensions
        return weights, None, layout.arrange(tensors.output)
    return weights, layout.arrange(value), layout.arrange(tensors.output)


def _weights_by_shape(tensor: Tensor, heads: int | None, is_einsum: bool) -> Tensor:
    """Returns weights or an output as [samples, heads, queries, any]."""
    if is_einsum and tensor.dim() > 4:  # its equation tells the batch from the groups of heads
        tensor = tensor.flatten(1, -3)
    return to_4d(tensor, heads)


def _by_shape(tensors: ProductTensors, heads: int | None, is_einsum: bool) -> _Arranged:
    """Returns the tensors in an order that their shapes suggest."""
    weights = _weights_by_shape(tensors.weights, heads, is_einsum)
    output = _weights_by_shape(tensors.output, heads, is_einsum)
    try:
        value = key_to_4d(tensors.value, tensors.weights.shape, weights)
    except (ShapeError, RuntimeError):
        return weights, None, output
    return weights, value, output
