"""Reading attention out of an einsum's equation: which letter is batch, head, query and key."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class EinsumTerms:
    """The subscripts of ``weights, value → output``, told apart by where they occur.

    `keys` are summed over with the value; `width` is the value's own; `batch` comes first in the
    output of those in all three; `queries` are the last of the weights' remaining, the others are
    heads.
    """

    weights: str
    value: str
    output: str
    batch: str
    heads: str
    queries: str
    keys: str
    width: str

    @classmethod
    def read(cls, equation: str, weights_at: int) -> "EinsumTerms | None":
        """None when the equation is no weighted sum over keys. weights_at: 0 or 1."""
        inputs, arrow, output = equation.replace(" ", "").partition("->")
        terms = inputs.split(",")
        if not arrow or "." in equation or len(terms) != 2:
            return None
        weights, value = terms[weights_at], terms[1 - weights_at]
        if any(len(set(term)) != len(term) for term in (weights, value, output)):
            return None
        keys = [c for c in weights if c in value and c not in output]
        width = [c for c in output if c in value and c not in weights]
        batch = next((c for c in output if c in weights and c in value), "")
        own = [c for c in weights if c in output and c not in value]
        if len(keys) != 1 or len(width) != 1 or not own or set(weights) - set(output) != set(keys):
            return None
        heads = "".join(c for c in weights if c not in (batch, own[-1], keys[0]))
        return cls(weights, value, output, batch, heads, own[-1], keys[0], width[0])

    def weights_of(self, tensor: Tensor) -> Tensor:
        """[batch, heads, queries, keys]"""
        return self._arranged(tensor, self.weights, self.queries + self.keys)

    def output_of(self, tensor: Tensor) -> Tensor:
        """[batch, heads, queries, width]"""
        return self._arranged(tensor, self.output, self.queries + self.width)

    def value_of(self, tensor: Tensor) -> Tensor:
        """[batch, key heads, keys, width]"""
        return self._arranged(tensor, self.value, self.keys + self.width)

    def _arranged(self, tensor: Tensor, letters: str, last: str) -> Tensor:
        heads = "".join(c for c in self.heads if c in letters)
        order = [letters.index(c) for c in self.batch + heads + last]
        turned = tensor.permute(order)
        if not self.batch:
            turned = turned.unsqueeze(0)
        return turned.flatten(1, -3) if heads else turned.unsqueeze(1)
