"""Masks that follow from positions: triangles, sliding windows, ALiBi, packed sequences."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attnmon.capture.calls.adapter import UnsupportedCall, require_small


@dataclass(frozen=True, slots=True)
class PositionMask:
    """Which distances between a query and a key are allowed."""

    causal: bool = False
    left: int = -1
    """How many earlier keys a query sees; below 0, all."""
    right: int = -1
    from_the_end: bool = True
    """With fewer queries than keys, whether the last of both stand at the same place."""

    @property
    def is_triangle(self) -> bool:
        return self.causal and self.left < 0 and self.right <= 0


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Where queries and keys stand, and in which sequences."""

    query: Tensor
    """[queries, 1], counted so that equal numbers are the same place."""
    key: Tensor
    """[keys]"""
    together: Tensor | None
    """[queries, keys]: whether both are of the same sequence; None if there is only one."""

    @classmethod
    def of(
        cls,
        queries: int,
        keys: int,
        device: torch.device,
        starts: tuple[Tensor, Tensor] | None,
        from_the_end: bool,
    ) -> "Positions":
        """starts: of the packed sequences of queries and keys, [sequences + 1], the end included.

        Waits for no value to come from the device.
        """
        query, key = torch.arange(queries, device=device), torch.arange(keys, device=device)
        if starts is None:
            shift = keys - queries if from_the_end else 0
            return cls((query + shift)[:, None], key, None)
        require_small(queries * keys, "the mask of packed sequences")
        query_starts, key_starts = (start.long() for start in starts)
        query_of = torch.bucketize(query, query_starts[1:], right=True)
        key_of = torch.bucketize(key, key_starts[1:], right=True)
        shifts = F.pad(key_starts.diff() - query_starts.diff(), (0, 1))
        query = query - query_starts[query_of] + shifts[query_of] * from_the_end
        key = key - key_starts[key_of]
        return cls(query[:, None], key, query_of[:, None] == key_of)

    def allowed(self, band: PositionMask) -> Tensor | None:
        """[queries, keys]; None if everything is."""
        limits = []
        if band.causal or band.right >= 0:
            limits.append(self.key <= self.query + (0 if band.causal else band.right))
        if band.left >= 0:
            limits.append(self.key >= self.query - band.left)
        if self.together is not None:
            limits.append(self.together)
        require_small(self.query.numel() * self.key.numel() * len(limits), "this mask")
        return torch.stack(limits).all(0) if limits else None

    def alibi(self, slopes: Tensor) -> Tensor:
        """−slope · distance (Press et al. 2021): [batch or 1, heads, queries, keys].

        slopes: [heads] or [batch, heads].
        """
        if self.together is not None and slopes.dim() > 1:
            raise UnsupportedCall("ALiBi slopes for each of several packed sequences: not known")
        require_small(slopes.numel() * self.query.numel() * self.key.numel(), "ALiBi")
        distance = (self.query - self.key).abs()
        return -slopes.detach().reshape(-1, slopes.shape[-1], 1, 1) * distance
