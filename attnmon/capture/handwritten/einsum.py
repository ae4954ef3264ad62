"""Reads from an einsum's equation which subscript is batch, head, query and key."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class EinsumTerms:
    """The subscripts of an einsum ``weights, value → output``, by their meaning."""

    weights: str
    """All subscripts of the weights, in their order."""
    value: str
    output: str
    queries: str
    """Last subscript that the weights and the output have but not the value."""
    keys: str
    """Subscript that the weights and the value have but not the output: it is summed over."""
    width: str
    """Subscript that the value and the output have but not the weights."""

    @classmethod
    def read(cls, equation: str, weights_index: int) -> "EinsumTerms | None":
        """Returns the terms; None if the equation is no weighted sum over keys.

        weights_index: which operand is the weights, 0 or 1.
        """
        inputs, arrow, output = equation.replace(" ", "").partition("->")
        terms = inputs.split(",")
        if not arrow or "." in equation or len(terms) != 2:
            return None
        weights, value = terms[weights_index], terms[1 - weights_index]
        if any(len(set(term)) != len(term) for term in (weights, value, output)):
            return None
        keys = [c for c in weights if c in value and c not in output]
        width = [c for c in output if c in value and c not in weights]
        queries = [c for c in weights if c in output and c not in value]
        if (
            len(keys) != 1
            or len(width) != 1
            or not queries
            or set(weights) - set(output) != set(keys)
        ):
            return None
        return cls(weights, value, output, queries[-1], keys[0], width[0])

    @property
    def lead(self) -> str:
        """The subscripts of samples and heads, in the order of the output."""
        return "".join(c for c in self.output if c in self.weights and c != self.queries)

    def weights_of(self, tensor: Tensor) -> Tensor:
        """Returns the weights as [*leading, queries, keys]."""
        return self._arrange(tensor, self.weights, self.queries + self.keys)

    def output_of(self, tensor: Tensor) -> Tensor:
        """Returns the output as [*leading, queries, width]."""
        return self._arrange(tensor, self.output, self.queries + self.width)

    def value_of(self, tensor: Tensor) -> Tensor:
        """Returns the value as [*leading, keys, width], with 1 for subscripts it has not."""
        return self._arrange(tensor, self.value, self.keys + self.width)

    def _arrange(self, tensor: Tensor, subscripts: str, last: str) -> Tensor:
        order = [subscripts.index(c) for c in self.lead + last if c in subscripts]
        permuted = tensor.permute(order)
        return permuted[tuple(slice(None) if c in subscripts else None for c in self.lead + last)]
