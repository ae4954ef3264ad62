"""Which positions of the captured sample are padding, as the user's batch says."""

from collections.abc import Set
from typing import Any, NamedTuple

import torch
from torch import Tensor

from attnmon.capture import GivenInputs
from attnmon.layers.layer_numbering import Role
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.serialize.ring_writer import RingWriter

Padding = Tensor | tuple[Tensor | None, Tensor | None] | None
"""bool [batch, positions] True where there is padding: of the only stack or of the encoder, or a
pair (the encoder's, the decoder's)."""

_MASKS = (
    ("attention_mask", "src_key_padding_mask"),
    ("decoder_attention_mask", "tgt_key_padding_mask"),
)
"""Names of a model's inputs: 0 in the first of a pair, and True in the second, is padding."""
_DECODERS = ("decoder_input_ids", "labels")
NUMBERS = (torch.int64, torch.int32, torch.int16, torch.uint8)
TRUTHS = (torch.bool,)
LONGEST = 1 << 20


class SamplePadding(NamedTuple):
    """What is padding in one sample, and whether the model is given tokens."""

    own: Tensor | None = None
    """bool [positions] Of the only stack, or the encoder."""
    decoder: Tensor | None = None
    ids: int = 0
    """How many of the inputs are numbers of tokens; of a decoder's own at least two."""

    @property
    def is_known(self) -> bool:
        """Return whether anything is said of padding."""
        return self.own is not None or self.decoder is not None

    def of_stacks(self, roles: Set[Role]) -> tuple[Tensor | None, Tensor | None]:
        """Return the encoder's and the decoder's, where the layers have these roles."""
        stacks = {role.stack for role in roles}
        if "encoder" in stacks:
            return self.own, self.decoder
        return None, self.own if self.decoder is None else self.decoder

    def decoder_reads_ids(self, roles: Set[Role]) -> bool:
        """Return whether the decoder is given tokens, as numbers."""
        return self.ids >= len({role.stack for role in roles} or {""})


def padding_in(given: GivenInputs | None, sample: int, batch_dim: int | None) -> SamplePadding:
    """Return what the masks in a batch say of one sample; they are copied, and not read."""
    if given is None:
        return SamplePadding()
    inputs, dim = given.by_name(), batch_dim or 0
    # Lists and loops, not generators: to go on with one costs as much as a call, for each value.
    own, decoder = [_of_masks(inputs, *names, sample, dim) for names in _MASKS]
    values = [*given.args, *[v for name, v in given.kwargs.items() if "mask" not in name]]
    ids = len([value for value in values if _is_batch_of(value, NUMBERS)])
    if ids and [name for name in _DECODERS if inputs.get(name) is not None]:
        ids = max(ids, 2)
    return SamplePadding(own, decoder, ids)


def given_padding(given: Padding, sample: int) -> SamplePadding:
    """Return what the user said of one sample. Raises TypeError for anything but such tensors."""
    pair = given if isinstance(given, tuple) else (given, None)
    own, decoder = (_row(_checked(mask), sample, 0) for mask in pair)
    return SamplePadding(own, decoder)


def write_padding(row: Tensor | None, writer: RingWriter, reserver: Any) -> ArrayBlock | None:
    """Copy it into the ring; None where nothing is padding. Raises what `reserve` raises."""
    if row is None or (row.is_cpu and not bool(row.any())):
        return None
    return writer.write({"padding": row}, reserver)["padding"]


def _of_masks(
    inputs: dict[str, Any], shown: str, hidden: str, sample: int, dim: int
) -> Tensor | None:
    if (mask := inputs.get(shown)) is not None and _is_batch(mask):
        row = _row(mask, sample, dim)
        return None if row is None else row == 0
    mask = inputs.get(hidden)
    return _row(mask, sample, dim) if _is_batch_of(mask, TRUTHS) else None


def _row(mask: Tensor | None, sample: int, dim: int) -> Tensor | None:
    if mask is None or mask.numel() > LONGEST or not mask.shape[dim]:
        return None
    return mask.detach().select(dim, min(sample, mask.shape[dim] - 1)).clone()


def _checked(mask: Tensor | None) -> Tensor | None:
    if mask is not None and not _is_batch_of(mask, TRUTHS):
        raise TypeError(
            "padding: give a bool tensor [batch, positions] that is True where there is padding, "
            "or a pair of them (the encoder's, the decoder's)"
        )
    return mask


def _is_batch_of(value: Any, dtypes: tuple[torch.dtype, ...]) -> bool:
    return type(value) is Tensor and value.dtype in dtypes and _is_batch(value)


def _is_batch(value: Any) -> bool:
    """Return whether it is a plain tensor [samples, positions]; of no other class.

    To index one that is spread over processes may be a collective.
    """
    is_plain = type(value) is Tensor and value.layout == torch.strided
    return is_plain and value.ndim == 2 and value.numel() > 0
