"""Finds what the axes are labelled with in what a model was given."""

from typing import Any

import torch
from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard, comes_from_signal_handler, words_of
from attnmon.capture import GivenInputs
from attnmon.serialize.sample_tokens import OTHER_INPUTS, BatchTokens, IdTokens, SampleTokens

IDS = ("input_ids", "decoder_input_ids", "labels")
MASKS = ("attention_mask", "decoder_attention_mask")


class InputTokens:
    """Keeps the ids of the captured sample, for the tokenizer or the function that the user gave.

    They are copied at once, since the tensors may be written to before the step is logged.
    """

    def __init__(self, tokenizer: Any, guard: ErrorGuard) -> None:
        """`tokenizer`: the option of this name; with None there are no labels."""
        self._tokenizer = tokenizer
        self._guard = guard

    def of(
        self, given: GivenInputs | None, sample: int, batch_dim: int | None
    ) -> SampleTokens | None:
        """Return what labels can be made of; None if nothing is there. Raises nothing of ours."""
        if self._tokenizer is None or given is None:
            return None
        try:
            return self._find(given, sample, batch_dim)
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            text = f"tokenizer: {words_of(error)}. The axes show positions instead."
            self._guard.warn_once("tokens", text)
            return None

    def _find(self, given: GivenInputs, sample: int, batch_dim: int | None) -> SampleTokens | None:
        if not hasattr(self._tokenizer, "convert_ids_to_tokens"):
            return BatchTokens(self._tokenizer, given.batch, sample)
        inputs, dim = given.by_name(), batch_dim or 0
        found = ((name, inputs.get(name)) for name in (*IDS, *MASKS))
        batches: dict[str, Tensor] = {
            name: value for name, value in found if value is not None and _is_batch_of_ids(value)
        }
        if batches.keys().isdisjoint(IDS):
            self._guard.warn_once("tokens", _no_ids(inputs))
            return None
        sample = min(sample, max(value.shape[dim] for value in batches.values()) - 1)
        rows = {
            name: value.detach().select(dim, sample).clone()
            for name, value in batches.items()
            if sample < value.shape[dim]
        }
        others = any(inputs.get(name) is not None for name in OTHER_INPUTS)
        return IdTokens(self._tokenizer, rows, sample, given.model, has_other_inputs=others)


def _is_batch_of_ids(value: Any) -> bool:
    """Return whether it is a plain tensor [samples, length] of whole numbers; of no other class.

    To index one that is spread over processes may be a collective.
    """
    return (
        type(value) is Tensor
        and value.ndim == 2
        and value.numel() > 0
        and not (value.is_floating_point() or value.is_complex())
        and value.layout == torch.strided
    )


def _no_ids(inputs: dict[str, Any]) -> str:
    named = ", ".join(inputs) or "none by name"
    return (
        f"tokenizer: there is no tensor input_ids [samples, length] among the model's inputs "
        f"({named}), so the axes show positions. A function of the batch can make the labels: "
        "tokenizer=lambda batch: [...]"
    )
