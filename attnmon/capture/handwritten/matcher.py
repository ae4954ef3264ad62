"""Makes an `AttentionCall` of the product in which hand-written attention sums its values."""

from dataclasses import dataclass

from torch import Tensor

from attnmon.capture.calls.adapter import CallSite
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import LayoutError, key_to_4d, to_4d
from attnmon.capture.handwritten.einsum import EinsumTerms

HANDWRITTEN = "softmax"
"""`AttentionCall.source` of hand-written attention."""


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

    def to_call(self, site: CallSite) -> AttentionCall | None:
        """Returns the call; None if the product sums over another dimension than the softmax."""
        if self.equation:
            return self._from_einsum(site)
        if self.keys_dim != (-1 if self.weights_first else -2):
            return None
        if self.weights_first:
            return self._from_matmul(site, self.weights, self.value, self.output)
        return self._from_matmul(site, self.weights.mT, self.value.mT, self.output.mT)

    def _from_matmul(
        self, site: CallSite, weights: Tensor, value: Tensor, output: Tensor
    ) -> AttentionCall:
        weights4 = to_4d(weights, site.heads)
        # The weights are those that left the softmax; the product may have folded dimensions.
        unfolded = output.reshape(*weights.shape[:-1], output.shape[-1])
        try:
            value4 = key_to_4d(value, weights.shape, weights4)
        except (LayoutError, RuntimeError):
            value4 = None
        return self._call(site, weights4, value4, to_4d(unfolded, site.heads))

    def _from_einsum(self, site: CallSite) -> AttentionCall | None:
        terms = EinsumTerms.read(self.equation, 0 if self.weights_first else 1)
        if terms is None or len(terms.weights) != self.weights.dim():
            return None
        if terms.weights[self.keys_dim] != terms.keys:
            return None
        value, output = terms.value_of(self.value), terms.output_of(self.output)
        return self._call(site, terms.weights_of(self.weights), value, output)

    def _call(
        self, site: CallSite, weights: Tensor, value: Tensor | None, output: Tensor
    ) -> AttentionCall:
        return AttentionCall(
            name=site.name,
            call_index=site.call_index,
            source=HANDWRITTEN,
            heads=weights.shape[1],
            weights=weights.detach(),
            value=None if value is None else value.detach(),
            output=None if self.had_dropout else output.detach(),
        )
