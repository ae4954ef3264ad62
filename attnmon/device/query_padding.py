"""Which queries of a layer are padding, found on its device without waiting for it."""

import torch
from torch import Tensor

from attnmon.link.records.attention_record import MASKED_BIAS


def is_alike_for_queries(bias: Tensor) -> bool:
    """Return whether a mask says the same of every query."""
    return bias.dim() < 2 or bias.shape[-2] == 1 or bias.stride(-2) == 0


def padding_of(bias: Tensor, queries: int, keys: int, earlier: int) -> Tensor | None:
    """Return [queries] which of a sequence's queries are padding, all False where all would be.

    Those whose own key is masked, as in the renderer's `Mask.padding`. None where queries have no
    keys of their own. `bias`: a mask that says the same of every query.
    """
    if earlier + queries != keys:
        return None
    row = bias if bias.dim() < 2 else bias.select(-2, 0)
    allowed = row if row.dtype == torch.bool else row > MASKED_BIAS
    seen = allowed.reshape(-1, allowed.shape[-1]).any(0).expand(keys)
    padding = ~seen[earlier:]
    return padding & ~padding.all()
