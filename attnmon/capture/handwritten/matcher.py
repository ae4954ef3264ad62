"""Hand-written attention: from the product that sums values with weights to `AttentionCall`."""

from dataclasses import dataclass

from torch import Tensor

from attnmon.capture.calls.adapter import CallSite
from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.calls.shapes import LayoutError, beside, four_dimensional
from attnmon.capture.handwritten.einsum import EinsumTerms

HANDWRITTEN = "softmax"
"""The source of what is told from here."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueProduct:
    """A product of softmax weights with something else: attention, if it sums over the keys."""

    number: int
    """Of the softmax, in the order of the forward."""
    weights: Tensor
    value: Tensor
    output: Tensor
    keys_at: int
    """The dimension that the softmax normalised, counted from the end."""
    dropped: bool
    """Whether dropout came between the weights and the product."""
    left: bool
    """Whether the weights were the first factor."""
    equation: str = ""
    """Of an einsum; empty for a matrix product."""

    def observed(self, place: CallSite) -> AttentionCall | None:
        """None when the product sums over another dimension than the softmax normalised."""
        if self.equation:
            return self._by_letters(place)
        if self.keys_at != (-1 if self.left else -2):
            return None
        if self.left:
            return self._by_position(place, self.weights, self.value, self.output)
        return self._by_position(place, self.weights.mT, self.value.mT, self.output.mT)

    def _by_position(
        self, place: CallSite, weights: Tensor, value: Tensor, output: Tensor
    ) -> AttentionCall:
        weights4 = four_dimensional(weights, place.heads)
        # The weights are told as they left the softmax; the product may have folded dimensions.
        unfolded = output.reshape(*weights.shape[:-1], output.shape[-1])
        try:
            value4 = beside(value, weights.shape, weights4)
        except (LayoutError, RuntimeError):
            value4 = None
        return self._told(place, weights4, value4, four_dimensional(unfolded, place.heads))

    def _by_letters(self, place: CallSite) -> AttentionCall | None:
        letters = EinsumTerms.read(self.equation, 0 if self.left else 1)
        if letters is None or len(letters.weights) != self.weights.dim():
            return None
        if letters.weights[self.keys_at] != letters.keys:
            return None
        value, output = letters.value_of(self.value), letters.output_of(self.output)
        return self._told(place, letters.weights_of(self.weights), value, output)

    def _told(
        self, place: CallSite, weights: Tensor, value: Tensor | None, output: Tensor
    ) -> AttentionCall:
        return AttentionCall(
            name=place.name,
            call_index=place.call_index,
            source=HANDWRITTEN,
            heads=weights.shape[1],
            weights=weights.detach(),
            value=None if value is None else value.detach(),
            output=None if self.dropped else output.detach(),
        )
