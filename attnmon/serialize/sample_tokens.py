"""Labels of the positions of one sample, made of what the model was given.

Nothing is read before the capture is announced: what is on a device is copied there on its way.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Protocol

from torch import Tensor, nn

from attnmon.layers.layer_numbering import ROLES, Role
from attnmon.serialize.token_labels import LONGEST, Tokens

IGNORED = -100
"""The label of a position that counts in no loss, as padding does."""
OTHER_INPUTS = ("pixel_values", "input_values", "input_features")
"""Images and sounds: a stack that is given them has positions that are no tokens."""


class SampleTokens(Protocol):
    """What labels can be made of, once the capture is announced."""

    sample: int
    """Index in the batch of the sample that they are of."""

    def copy_to_host(self, copy: Callable[[Tensor], Tensor]) -> None:
        """Start copying what is on a device."""

    def read(self, roles: Set[Role]) -> Tokens:
        """Return the labels. `roles`: those of all layers of the model."""


class BatchTokens(SampleTokens):
    """Labels that a function of the user's makes of the batch."""

    def __init__(self, function: Callable[[Any], Tokens], batch: Any, sample: int) -> None:
        self.sample = sample
        self._function = function
        self._batch = batch

    def copy_to_host(self, copy: Callable[[Tensor], Tensor]) -> None:
        """Leave the batch as it is: the function expects what the user made."""

    def read(self, roles: Set[Role]) -> Tokens:
        return self._function(self._batch)


class IdTokens(SampleTokens):
    """Labels that a tokenizer makes of ids. Padding has an empty one."""

    def __init__(
        self,
        tokenizer: Any,
        rows: Mapping[str, Tensor],
        sample: int,
        model: nn.Module | None,
        *,
        has_other_inputs: bool,
    ) -> None:
        """`rows`: ids and masks [length] of one sample, by the name of the model's input."""
        self.sample = sample
        self._tokenizer = tokenizer
        self._rows = {**rows}
        self._model = (lambda: None) if model is None else weakref.ref(model)
        self._has_other_inputs = has_other_inputs

    def copy_to_host(self, copy: Callable[[Tensor], Tensor]) -> None:
        self._rows = {name: row if row.is_cpu else copy(row) for name, row in self._rows.items()}

    def read(self, roles: Set[Role]) -> Tokens:
        own = self._labels(self._row("input_ids"), self._row("attention_mask"))
        config = getattr(self._model(), "config", None)
        if getattr(config, "is_encoder_decoder", False) or "decoder_input_ids" in self._rows:
            return own, self._decoder_labels()
        if ROLES["decoder_cross"] in roles:
            return own, ()
        if len({role.stack for role in roles}) == 2:  # the encoder sees what its decoder is told of
            return (), own
        return None if self._has_other_inputs else own

    def _decoder_labels(self) -> Sequence[str]:
        given, mask = self._row("decoder_input_ids"), self._row("decoder_attention_mask")
        ids = self._shifted() if given is None else given
        return self._labels(ids, self._before_padding(ids or []) if mask is None else mask)

    def _before_padding(self, ids: list[int]) -> list[int]:
        """Return 1 for each position of the decoder that is no padding, as far as `labels` tell.

        It is given them one position later, after a start token, which may be the one that pads.
        """
        labels = self._row("labels") or []
        length = max(
            (index + 2 for index, label in enumerate(labels) if label != IGNORED), default=0
        )
        holders = (self._tokenizer, getattr(self._model(), "config", None))
        pads = {getattr(holder, "pad_token_id", None) for holder in holders}
        return [int(not 0 < length <= index or each not in pads) for index, each in enumerate(ids)]

    def _shifted(self) -> list[int] | None:
        """Return the decoder's ids as the model makes them of `labels`; None if it cannot."""
        labels, model = self._rows.get("labels"), self._model()
        if labels is None or model is None:
            return None
        if shift := getattr(model, "prepare_decoder_input_ids_from_labels", None):
            made: list[int] = shift(labels=labels[None])[0].tolist()
            return made
        start = getattr(model.config, "decoder_start_token_id", None)
        pad = getattr(model.config, "pad_token_id", None)
        if start is None or pad is None:
            return None
        return [start, *(pad if each == IGNORED else each for each in labels[:-1].tolist())]

    def _row(self, name: str) -> list[int] | None:
        row = self._rows.get(name)
        return None if row is None else row.tolist()

    def _labels(self, ids: list[int] | None, mask: list[int] | None) -> Sequence[str]:
        if not ids or len(ids) > LONGEST:
            return ()
        if mask is None or len(mask) != len(ids):
            mask = [1] * len(ids)
        known = [each for each, shown in zip(ids, mask, strict=True) if shown and each >= 0]
        tokens = iter(self._tokenizer.convert_ids_to_tokens(known))
        return [
            _text(next(tokens) if each >= 0 else None, each) if shown else ""
            for each, shown in zip(ids, mask, strict=True)
        ]


def _text(token: Any, number: int) -> str:
    """Return a token as text; its number, where there is none for it."""
    if token is None:
        return str(number)
    return token.decode("utf-8", "replace") if isinstance(token, bytes) else token
