"""Makes the call of a model on one sample of the inputs that the user logs."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

ForwardFunction = Callable[[nn.Module, Any, Any], object]
"""Runs the forward to capture, given (model, enc, dec); for models called in an unusual way."""

Inputs = tuple[Tensor, ...]
"""The tensors among the arguments of a forward."""


class InputError(ValueError):
    """Inputs with which the model cannot be called. The message says what is expected."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A forward of one sample, ready to be made."""

    function: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sample: int
    """Index of the sample in the batch: the requested one, or the last of a smaller batch."""
    batch: int
    """Number of samples in the batch."""

    def __call__(self) -> object:
        return self.function(*self.args, **self.kwargs)

    def on_copies(self) -> "ModelCall":
        """Returns the same call with copies of its tensors, which the forward may write to."""
        return replace(self, args=_copied(self.args), kwargs=_copied(self.kwargs))


def model_call(
    model: nn.Module,
    enc: Any,
    dec: Any = None,
    *,
    sample: int = 0,
    batch_dim: int | None = 0,
    forward_fn: ForwardFunction | None = None,
) -> ModelCall:
    """Returns the call of `model` on one sample of (enc, dec).

    enc, dec: a tensor, a tuple of positional or a mapping of named inputs; dec may be None.
    batch_dim: dimension that holds the samples, 0 or 1; None for inputs without a batch. Tensors
    without this dimension are shared by all samples.

    Raises `InputError` if there is no such dimension or the batch is empty.
    """
    function: Callable[..., object] = forward_fn or model
    args, kwargs = ((model, enc, dec), {}) if forward_fn else _arguments(model, enc, dec)
    batch = 1 if batch_dim is None else _batch_size((enc, dec), batch_dim)
    sample = min(sample, batch - 1)
    if batch_dim is not None:
        select = _SampleSelector(batch_dim, batch, sample, _folded_heads(model))
        names = _parameter_names(model, args) if forward_fn is None else ()
        args = tuple(
            select(value, names[index] if index < len(names) else "")
            for index, value in enumerate(args)
        )
        kwargs = {name: select(value, name) for name, value in kwargs.items()}
    return ModelCall(function, args, kwargs, sample, batch)


def _arguments(model: nn.Module, enc: Any, dec: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments of ``model(enc, dec)``.

    A tensor `dec` after named inputs is the decoder's input.
    """
    if isinstance(model, nn.MultiheadAttention) and isinstance(enc, Tensor):
        if dec is None:
            return (enc, enc, enc), {}
        if isinstance(dec, Tensor):
            return (dec, enc, enc), {}
    if isinstance(enc, Mapping) and isinstance(dec, Tensor):
        return (), {**enc, "decoder_input_ids": dec}
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    for part in (enc, dec):
        if isinstance(part, Mapping):
            kwargs |= {str(name): value for name, value in part.items()}
        elif isinstance(part, (tuple, list)):
            args += tuple(part)
        elif part is not None:
            args += (part,)
    return args, kwargs


def _batch_size(inputs: Any, batch_dim: int) -> int:
    sizes = (t.shape[batch_dim] for t in _tensors(inputs) if t.dim() > max(batch_dim, 0))
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
    """Returns whether the first two positional tensors hold the same number of samples.

    If not, `batch_dim` is likely wrong: it may be the length of source and target. True if the two
    cannot be compared.
    """
    if batch_dim is None:
        return True
    tensors = [] if isinstance(enc, Mapping) else list(_tensors((enc, dec)))
    if len(tensors) < 2:
        return True
    first, second = tensors[:2]
    if first.dim() != second.dim() or first.dim() <= batch_dim:
        return True
    return first.shape[batch_dim] == second.shape[batch_dim]


@dataclass(frozen=True, slots=True)
class _SampleSelector:
    """Selects one sample from nested inputs. The batch dimension stays, with size 1."""

    batch_dim: int
    batch: int
    """Number of samples."""
    sample: int
    """Index of the sample."""
    heads: frozenset[int]
    """Numbers of heads that may be folded into the first dimension of a mask."""

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
        """Whether a mask is [batch · heads, queries, keys], as `nn.MultiheadAttention` accepts."""
        return any(mask.shape[0] == self.batch * heads for heads in self.heads if heads > 1)


def _folded_heads(model: nn.Module) -> frozenset[int]:
    attentions = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    return frozenset(attention.num_heads for attention in attentions)


def _is_for_all_samples(mask: Tensor, name: str) -> bool:
    """Whether a mask is [queries, keys]; Hugging Face's "attention_mask" is [samples, keys]."""
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
    """Returns all tensors in nested tuples, lists and mappings."""
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


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_copied, value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_copied, value))
    return value
