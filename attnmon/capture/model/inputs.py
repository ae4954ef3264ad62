"""How a model is called with what the user logs, and how one sample of that looks."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

ForwardFunction = Callable[[nn.Module, Any, Any], object]
"""(model, enc, dec) → the forward to look at; for models called in a way of their own."""

Inputs = tuple[Tensor, ...]
"""The tensors among a forward's arguments, as they are."""


class InputError(ValueError):
    """Inputs that no call can be made of. The message says which were given and which are known."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A forward of one sample, ready to be made."""

    function: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sample: int
    """The sample's index in the batch: the one asked for, or the last of a smaller batch."""
    batch: int
    """Samples in the batch that was given."""

    def __call__(self) -> object:
        return self.function(*self.args, **self.kwargs)


def model_call(
    model: nn.Module,
    enc: Any,
    dec: Any = None,
    *,
    sample: int = 0,
    batch_dim: int | None = 0,
    forward_fn: ForwardFunction | None = None,
) -> ModelCall:
    """The call of `model` on one sample of (enc, dec).

    enc, dec: a tensor, a tuple of positional or a mapping of named inputs; dec may be None.
    batch_dim: where the samples lie, 0 or 1; None for inputs without a batch. Tensors that have no
    such dimension are shared by all samples. Raises `InputError`.
    """
    function: Callable[..., object] = forward_fn or model
    args, kwargs = ((model, enc, dec), {}) if forward_fn else _arguments(model, enc, dec)
    batch = 1 if batch_dim is None else _batch((enc, dec), batch_dim)
    used = min(sample, batch - 1)
    if batch_dim is not None:
        cut = _Cut(batch_dim, batch, used, _folded_heads(model))
        names = _parameter_names(model, args) if forward_fn is None else ()
        args = tuple(
            cut(value, names[at] if at < len(names) else "") for at, value in enumerate(args)
        )
        kwargs = {name: cut(value, name) for name, value in kwargs.items()}
    return ModelCall(function, args, kwargs, used, batch)


def _arguments(model: nn.Module, enc: Any, dec: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """As in ``model(enc, dec)``; a bare tensor beside named inputs is the decoder's."""
    if isinstance(model, nn.MultiheadAttention) and isinstance(enc, Tensor):
        if dec is None:
            return (enc, enc, enc), {}
        if isinstance(dec, Tensor):
            return (dec, enc, enc), {}
    if isinstance(enc, Mapping) and isinstance(dec, Tensor):
        return (), {**enc, "decoder_input_ids": dec}
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    for given in (enc, dec):
        if isinstance(given, Mapping):
            kwargs |= {str(name): value for name, value in given.items()}
        elif isinstance(given, (tuple, list)):
            args += tuple(given)
        elif given is not None:
            args += (given,)
    return args, kwargs


def _batch(given: Any, batch_dim: int) -> int:
    sizes = (t.shape[batch_dim] for t in _tensors(given) if t.dim() > max(batch_dim, 0))
    batch = next(sizes, None)
    if batch is None:
        raise InputError(
            f"no tensor with a dimension {batch_dim} in enc and dec: pass a tensor, a tuple or a "
            "dict of tensors, or say how to call the model with forward_fn"
        )
    if batch == 0:
        raise InputError("the batch is empty: there is no sample to look at")
    return batch


def same_batch(enc: Any, dec: Any, batch_dim: int | None) -> bool:
    """Whether the first two positional tensors of as many dimensions hold equally many samples.

    Where they do not, as source and target taken sequence first, `batch_dim` is likely wrong.
    """
    if batch_dim is None:
        return True
    given = [] if isinstance(enc, Mapping) else list(_tensors((enc, dec)))
    if len(given) < 2 or given[0].dim() != given[1].dim() or given[0].dim() <= batch_dim:
        return True
    return given[0].shape[batch_dim] == given[1].shape[batch_dim]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Takes one sample out of whatever is nested in the inputs. The batch dimension stays, as 1."""

    batch_dim: int
    batch: int
    sample: int
    heads: frozenset[int]
    """Numbers of heads that a mask may have folded into its first dimension."""

    def __call__(self, value: Any, name: str = "") -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, name)
        if isinstance(value, Mapping):
            return {key: self(item, str(key)) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(self(item, name) for item in value))
        if isinstance(value, (tuple, list)):
            return type(value)(self(item, name) for item in value)
        return value

    def _tensor(self, tensor: Tensor, name: str) -> Tensor:
        if name.endswith("mask") and "padding" not in name:
            if tensor.dim() == 2 and _is_for_all_samples(tensor, name):
                return tensor
            if tensor.dim() == 3 and self._heads_folded_in(tensor):
                heads = tensor.shape[0] // self.batch
                return tensor.narrow(0, self.sample * heads, heads)
        dims = (0,) if "padding" in name else (self.batch_dim, 0)
        for dim in dims:
            if dim < tensor.dim() and tensor.shape[dim] == self.batch:
                return tensor.narrow(dim, self.sample, 1)
        return tensor

    def _heads_folded_in(self, mask: Tensor) -> bool:
        """`nn.MultiheadAttention` takes masks of [batch · heads, queries, keys]."""
        return any(mask.shape[0] == self.batch * heads for heads in self.heads if heads > 1)


def _folded_heads(model: nn.Module) -> frozenset[int]:
    attentions = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    return frozenset(attention.num_heads for attention in attentions)


def _is_for_all_samples(mask: Tensor, name: str) -> bool:
    """Whether it is queries by keys; Hugging Face's "attention_mask" is samples by keys."""
    square = mask.shape[0] == mask.shape[1]
    return (square or name == "memory_mask") and not name.endswith("attention_mask")


def _parameter_names(model: nn.Module, args: tuple[Any, ...]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in positional)[: len(args)]


def tensors_in(value: Any) -> Inputs:
    """All tensors in nested tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return (value,)
    if isinstance(value, dict) or hasattr(value, "values"):
        return tensors_in(tuple(value.values()))
    if isinstance(value, (tuple, list)):
        return tuple(tensor for item in value for tensor in tensors_in(item))
    return ()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
