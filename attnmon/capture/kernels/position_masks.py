"""Masks that depend on positions alone: causal, sliding windows, ALiBi, packed sequences."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attnmon.capture.calls.adapter import UnsupportedCall, require_small


@dataclass(frozen=True, slots=True)
class PositionMask:
    """The distances between a query and a key that are allowed."""

    causal: bool = False
    """Whether a query sees no later key."""
    left: int = -1
    """Number of earlier keys that a query sees; all if below 0."""
    right: int = -1
    """Number of later keys that a query sees, if not causal; all if below 0."""
    aligned_at_end: bool = True
    """Whether the last query has the position of the last key; else the first of the first."""

    @property
    def is_triangle(self) -> bool:
        """Whether a query sees exactly the keys up to its own position."""
        return self.causal and self.left < 0 and self.right <= 0


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Positions of queries and keys, and whether they are of the same sequence."""

    query: Tensor
    """[queries, 1] Positions, on the same scale as those of the keys."""
    key: Tensor
    """[keys] Positions."""
    same_sequence: Tensor | None
    """[queries, keys] True if both are of the same sequence; None if there is only one."""

    @classmethod
    def of(
        cls,
        queries: int,
        keys: int,
        device: torch.device,
        starts: tuple[Tensor, Tensor] | None,
        aligned_at_end: bool,
    ) -> "Positions":
        """Returns the positions, of one sequence or of several packed ones.

        starts: for queries and for keys, [sequences + 1] the index at which each packed sequence
        starts, and the end of the last; None for one sequence.

        Never waits for a value from the device. Raises `UnsupportedCall` if a mask of packed
        sequences would be too large.
        """
        query, key = torch.arange(queries, device=device), torch.arange(keys, device=device)
        if starts is None:
            shift = keys - queries if aligned_at_end else 0
            return cls((query + shift)[:, None], key, None)
        require_small(queries * keys, "the mask of packed sequences")
        query_starts, key_starts = (start.long() for start in starts)
        query_of = torch.bucketize(query, query_starts[1:], right=True)
        key_of = torch.bucketize(key, key_starts[1:], right=True)
        shifts = F.pad(key_starts.diff() - query_starts.diff(), (0, 1))
        query = query - query_starts[query_of] + shifts[query_of] * aligned_at_end
        key = key - key_starts[key_of]
        return cls(query[:, None], key, query_of[:, None] == key_of)

    def allowed(self, mask: PositionMask) -> Tensor | None:
        """Returns [queries, keys], True where the mask allows it; None if it allows everything."""
        limits = []
        if mask.causal or mask.right >= 0:
            limits.append(self.key <= self.query + (0 if mask.causal else mask.right))
        if mask.left >= 0:
            limits.append(self.key >= self.query - mask.left)
        if self.same_sequence is not None:
            limits.append(self.same_sequence)
        require_small(self.query.numel() * self.key.numel() * len(limits), "this mask")
        return torch.stack(limits).all(0) if limits else None

    def alibi(self, slopes: Tensor) -> Tensor:
        """Returns −slope · distance (Press et al. 2021): [batch or 1, heads, queries, keys].

        slopes: [heads] or [batch, heads]. Raises `UnsupportedCall` for packed sequences with slopes
        for each of them, and if the result would be too large.
        """
        if self.same_sequence is not None and slopes.dim() > 1:
            raise UnsupportedCall("ALiBi slopes for each of several packed sequences: not known")
        require_small(slopes.numel() * self.query.numel() * self.key.numel(), "ALiBi")
        distance = (self.query - self.key).abs()
        return -slopes.detach().reshape(-1, slopes.shape[-1], 1, 1) * distance
