"""The tensors of one fused call as [batch, heads, …]: by its layout, or by their shapes alone."""

from dataclasses import dataclass

from torch import Size, Tensor

from attnmon.capture.calls.shapes import ShapeError, key_to_4d, mask_to_4d, to_4d
from attnmon.capture.lineage.layout import Layout


@dataclass(frozen=True, slots=True, eq=False)
class KernelShapes:
    """How the tensors that belong to one query are brought to four dimensions."""

    shape: Size
    """Shape of the query as it was passed."""
    query: Tensor
    """[batch, heads, queries, width]"""
    layout: Layout | None
    """None for the usual order, [batch, heads, …], and for one that is not established."""
    heads: int | None
    """Number of heads of the module; None if it does not say."""
    note: str
    """What was assumed, or left out; empty if nothing."""

    @classmethod
    def of(cls, query: Tensor, layout: Layout | None, heads: int | None) -> "KernelShapes":
        """Return the shapes of a call. Raises `ShapeError` if query and layout do not fit."""
        if layout is None:
            note = assumption_note(query, heads)
            return cls(query.shape, to_4d(query, heads), None, heads, note)
        arranged = layout.arrange(query)
        is_usual = arranged is query
        return cls(query.shape, arranged, None if is_usual else layout, heads, layout.note)

    def key(self, tensor: Tensor) -> Tensor:
        """Return a key or value as [batch, key heads, keys, width]. Raises `ShapeError`."""
        if self.layout is None:
            return key_to_4d(tensor, self.shape, self.query)
        return self.layout.arrange_keys(self._expanded(tensor))

    def mask(self, tensor: Tensor) -> Tensor:
        """Return a mask that broadcasts to [batch, heads, queries, keys]."""
        if self.layout is None:
            return mask_to_4d(tensor, self.shape, self.query)
        if tensor.dim() <= 2 and not self.layout.row_splits:
            return tensor
        rows = tensor if tensor.dim() > 1 else tensor[None]
        arrange = self.layout.arrange_keys if rows.shape[-2] == 1 else self.layout.arrange
        return arrange(self._expanded(rows))

    def output(self, tensor: Tensor) -> Tensor:
        """Return the call's result as [batch, heads, queries, width]."""
        return to_4d(tensor, self.heads) if self.layout is None else self.layout.arrange(tensor)

    def _expanded(self, tensor: Tensor) -> Tensor:
        try:
            return tensor.expand(*self.shape[:-2], *tensor.shape[-2:])
        except RuntimeError:
            raise ShapeError(f"a query {tuple(self.shape)} beside {tuple(tensor.shape)}") from None


def assumption_note(tensor: Tensor, heads: int | None) -> str:
    """Return what is assumed of a tensor whose order could not be established; empty if nothing.

    Four dimensions with the module's number of heads in the second need no assumption.
    """
    if tensor.dim() == 4 and heads in (None, tensor.shape[1]):
        return ""
    return f"the order of samples and heads in {tuple(tensor.shape)} is assumed"
