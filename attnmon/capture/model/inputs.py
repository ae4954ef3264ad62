"""Makes the call of a model on one sample of the inputs that the user logs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from attnmon.capture.model.batches import batch_size, can_be_cut, direct_leaves, is_nested
from attnmon.capture.model.input_parts import DEEPEST, Leaf, copy_of, leaves_of, with_leaves

ForwardFunction = Callable[[nn.Module, Any, Any], object]
"""Runs the forward to capture, given (model, enc, dec); for models called in an unusual way."""

Inputs = tuple[Leaf, ...]
"""The tensors and NumPy arrays among the arguments of a forward."""


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """What a forward was given, as its caller wrote it."""

    model: nn.Module | None
    """Names its positional arguments; None where they are not those of a model."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch: Any
    """All of it, as one value: the named inputs, the only positional one, or a tuple."""

    @classmethod
    def of_call(
        cls, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> "GivenInputs":
        """Returns what this call of a model gives it."""
        batch = (*args, kwargs) if kwargs else args
        return cls(model, args, kwargs, batch[0] if len(batch) == 1 else batch)

    @classmethod
    def of_logged(cls, model: nn.Module | None, enc: Any, dec: Any = None) -> "GivenInputs":
        """Returns what a model is given that is called with what the user logs."""
        args, kwargs = _arguments(model, enc, dec)
        return cls(model, args, kwargs, enc if dec is None else (enc, dec))

    def by_name(self) -> dict[str, Any]:
        """Returns the inputs whose names are known."""
        names = () if self.model is None else _parameter_names(self.model, self.args)
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


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
    """Number of samples in the batch; 0 where the inputs do not tell."""
    is_whole: bool = False
    """Whether it is called with all samples, because one cannot be cut out of its inputs."""
    count: int = 1
    """Number of samples that were cut out of its inputs."""

    def __call__(self) -> object:
        return self.function(*self.args, **self.kwargs)

    @property
    def samples_given(self) -> int:
        """The number of samples that it is called with; 0 where the inputs do not tell."""
        return self.batch if self.is_whole else self.count

    @property
    def index_given(self) -> int:
        """The index of the sample among those that it is called with."""
        return self.sample if self.is_whole else 0

    @property
    def followed(self) -> Inputs:
        """The inputs of which it is known where they hold the samples; all if it is of none."""
        given = (self.args, self.kwargs)
        return tuple(direct_leaves(given)) if self.is_whole and self.batch else inputs_in(given)

    def on_copies(self) -> "ModelCall":
        """Returns the same call with copies of its tensors, which the forward may write to."""
        args, kwargs = with_leaves((self.args, self.kwargs), lambda leaf, _: copy_of(leaf))
        return replace(self, args=args, kwargs=kwargs)


def model_call(
    model: nn.Module,
    enc: Any,
    dec: Any = None,
    *,
    sample: int = 0,
    batch_dim: int | None = 0,
    forward_fn: ForwardFunction | None = None,
    count: int = 1,
) -> ModelCall:
    """Returns the call of `model` on one sample of (enc, dec).

    enc, dec: a tensor, a tuple of positional or a mapping of named inputs; dec may be None.
    batch_dim: dimension that holds the samples, 0 or 1; None for inputs without a batch. Tensors
    without this dimension are shared by all samples. Inputs out of which no sample can be cut, such
    as a batch of graphs or a list of images of different sizes, are given whole. count: number of
    neighbouring samples to give, that one among them.

    Raises `InputError` if there is no such dimension or the batch is empty.
    """
    function: Callable[..., object] = forward_fn or model
    args, kwargs = ((model, enc, dec), {}) if forward_fn else _arguments(model, enc, dec)
    batch = 1 if batch_dim is None else _checked_batch_size((enc, dec), batch_dim)
    sample = min(sample, batch - 1) if batch else sample
    is_whole = batch_dim is not None and not can_be_cut((enc, dec), batch_dim, batch)
    count = min(count, batch) or 1
    if batch_dim is not None and not is_whole:
        first = min(sample, max(batch - count, 0))
        select = _SampleSelector(batch_dim, batch, first, count, _folded_heads(model))
        names = _parameter_names(model, args) if forward_fn is None else ()
        args = tuple(
            with_leaves(value, select, names[index] if index < len(names) else "")
            for index, value in enumerate(args)
        )
        kwargs = {name: with_leaves(value, select, name) for name, value in kwargs.items()}
    return ModelCall(function, args, kwargs, sample, batch, is_whole, count)


def _arguments(
    model: nn.Module | None, enc: Any, dec: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
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


def _checked_batch_size(inputs: Any, batch_dim: int) -> int:
    """Returns the number of samples; 0 where the inputs do not tell."""
    if all(leaf.ndim <= batch_dim for leaf in leaves_of(inputs)):
        raise InputError(
            f"no tensor with a dimension {batch_dim} in enc and dec: pass a tensor, a tuple or a "
            "dict of tensors, or say how to call the model with forward_fn"
        )
    batch = batch_size(inputs, batch_dim)
    if batch == 0:
        raise InputError("the batch is empty: there is no sample to look at")
    return batch or 0


def same_batch(enc: Any, dec: Any, batch_dim: int | None) -> bool:
    """Returns whether the first two positional tensors hold the same number of samples.

    If not, `batch_dim` is likely wrong: it may be the length of source and target. True if the two
    cannot be compared.
    """
    if batch_dim is None:
        return True
    tensors = () if isinstance(enc, Mapping) else inputs_in((enc, dec))
    if len(tensors) < 2:
        return True
    first, second = tensors[:2]
    if first.ndim != second.ndim or first.ndim <= batch_dim:
        return True
    return bool(first.shape[batch_dim] == second.shape[batch_dim])


@dataclass(frozen=True, slots=True)
class _SampleSelector:
    """Selects samples of a tensor or array. The batch dimension stays."""

    batch_dim: int
    batch: int
    """Number of samples."""
    first: int
    """Index of the first sample."""
    count: int
    """Number of samples to select."""
    heads: frozenset[int]
    """Numbers of heads that may be folded into the first dimension of a mask."""

    def __call__(self, leaf: Leaf, name: str) -> Leaf:
        if name.endswith("mask") and "padding" not in name:
            if leaf.ndim == 2 and _is_for_all_samples(leaf, name):
                return leaf
            if leaf.ndim == 3 and self._heads_folded_in(leaf):
                heads = leaf.shape[0] // self.batch
                return leaf[self.first * heads : (self.first + self.count) * heads]
        dims = (0,) if "padding" in name else (self.batch_dim, 0)
        for dim in dims:
            if dim < leaf.ndim and leaf.shape[dim] == self.batch:
                chosen = slice(self.first, self.first + self.count)
                return leaf[(slice(None),) * dim + (chosen,)]
        return leaf

    def _heads_folded_in(self, mask: Leaf) -> bool:
        """Whether a mask is [batch · heads, queries, keys], as `nn.MultiheadAttention` accepts."""
        return any(mask.shape[0] == self.batch * heads for heads in self.heads if heads > 1)


def _folded_heads(model: nn.Module) -> frozenset[int]:
    attentions = (m for m in model.modules() if isinstance(m, nn.MultiheadAttention))
    return frozenset(attention.num_heads for attention in attentions)


def _is_for_all_samples(mask: Leaf, name: str) -> bool:
    """Whether a mask is [queries, keys]; Hugging Face's "attention_mask" is [samples, keys]."""
    square = mask.shape[0] == mask.shape[1]
    return (square or name == "memory_mask") and not name.endswith("attention_mask")


def _parameter_names(model: nn.Module, args: tuple[Any, ...]) -> tuple[str, ...]:
    function = getattr(model.forward, "__func__", None)
    if type(function) is FunctionType and not vars(function):  # it wraps no other
        code = function.__code__
        return code.co_varnames[1 : code.co_argcount][: len(args)]
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in parameters if p.kind in positional)[: len(args)]


def holds_nested(value: Any) -> bool:
    """Returns whether there is a nested tensor in an input."""
    return any(map(is_nested, leaves_of(value)))


def inputs_in(value: Any) -> Inputs:
    """Returns all tensors and NumPy arrays in an input, whatever holds them.

    A nested tensor, whose samples have different sizes, is not among them.
    """
    found: list[Leaf] = []
    _add_inputs(value, found)
    return tuple(found)


def _add_inputs(value: Any, found: list[Leaf], depth: int = DEEPEST) -> None:
    """Adds them to a list; what is looked at for each capture is looked at first."""
    if isinstance(value, Tensor):
        if not value.is_nested:
            found.append(value)
    elif depth and type(value) in (tuple, list):
        for part in value:
            _add_inputs(part, found, depth - 1)
    elif depth and type(value) is dict:
        for part in value.values():
            _add_inputs(part, found, depth - 1)
    else:
        found.extend(leaf for leaf in leaves_of(value, depth) if not is_nested(leaf))
