"""Sees every operator of a forward before it runs, and stops those that would do harm."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from attnmon.capture.sandbox.kept_copies import KeptCopies
from attnmon.capture.sandbox.own_memory import OwnMemory, storages_of

_COMMUNICATION = ("c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem")
"""Namespaces of the operators by which processes communicate."""

_TORCHS_OWN = ("aten", "prim", "prims", "profiler", "quantized", "_quantized", "inductor")
"""Namespaces whose operators write to nothing but what they say (and `_UNDECLARED`)."""

_UNDECLARED = {
    "native_batch_norm": ("running_mean", "running_var"),
    "cudnn_batch_norm": ("running_mean", "running_var"),
    "miopen_batch_norm": ("running_mean", "running_var"),
    "batch_norm_update_stats": ("running_mean", "running_var"),
    "batch_norm_gather_stats": ("running_mean", "running_var"),
    "batch_norm_gather_stats_with_counts": ("running_mean", "running_var"),
    "_cudnn_rnn_flatten_weight": ("weight_arr",),
}
"""Arguments that operators write to without saying so; unless they have `training=False`."""

_HARMLESS = ("record_stream",)
"""Operators that are said to write, and do not change the tensor."""

_UNSEEN = (
    "triton_kernel_wrapper_mutation",
    "triton_kernel_wrapper_functional",
    "inductor_compiled_code",
    "call_torchbind",
)
"""Higher-order operators that run what is made of no operators."""


class OperatorGuard(TorchDispatchMode):
    """Stops a forward before an operator writes to memory that is not its own, or communicates.

    Memory that an operator may change without saying so is copied first (`KeptCopies`).
    """

    supports_higher_order_operators = True

    def __init__(self, own: OwnMemory, kept: KeptCopies, stop: Callable[..., Any]) -> None:
        """stop: called with what would be done, and the tensor it would be done to; raises."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.paused = False
        """Whether all operators pass unseen: those of attnmon itself."""
        self._own = own
        self._kept = kept
        self._stop = stop

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: otherwise torch loads its compiler, for more than a second."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, HigherOrderOperator):
            return self._run_higher_order(func, args, kwargs)
        with torch._C.DisableTorchFunction():  # what runs here was seen by function modes before
            if self.paused:
                return func(*args, **kwargs)
            self._check(func, args, kwargs)
            result = func(*args, **kwargs)
            self._note_made(func, result, args, kwargs)
            return result

    def _run_higher_order(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs an operator made of Python functions so that the operators in it are seen."""
        kernel = func.py_kernels.get(DispatchKey.CompositeExplicitAutograd)
        if kernel is not None and func.name() not in _UNSEEN:
            with self:
                if func.name() == "cond":  # its kernel runs under no mode
                    predicate, if_true, if_false, operands = args
                    return (if_true if predicate else if_false)(*operands)
                with suppress(AssertionError):  # as said by kernels that run under no mode
                    return kernel(*args, **kwargs)
        return self._stop(f"would have run {func.name()}, into which nobody can see")

    def _check(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if func.namespace in _COMMUNICATION:
            self._stop(f"would have communicated with other processes ({func})")
        for tensor in _written(func, args, kwargs):
            if not self._own.has(tensor):
                self._stop(f"would have written ({func}) to", tensor)
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Generator):
                self._kept.keep_generator(value)
        if func.namespace not in _TORCHS_OWN:
            self._keep_arguments(func, args, kwargs)

    def _keep_arguments(self, func: OpOverload, args: Any, kwargs: Any) -> None:
        for value in _flat((*args, *kwargs.values())):
            if isinstance(value, Tensor) and not (self._own.has(value) or self._kept.keep(value)):
                self._stop(f"would have given to {func}, which may write to it,", value)

    def _note_made(self, func: OpOverload, result: Any, args: Any, kwargs: Any) -> None:
        tensors = [value for value in _flat((result,)) if isinstance(value, Tensor)]
        if func is torch.ops.aten.lift_fresh.default:
            # What torch.tensor made, or an array's memory that torch.from_numpy was given.
            for tensor in tensors:
                if not self._own.has(tensor) and self._kept.keep(tensor):
                    self._own.add(tensor)
            return
        given = {storage._cdata for storage in _storages_in((*args, *kwargs.values()))}
        for tensor in tensors:
            if given.isdisjoint(storage._cdata for storage in storages_of(tensor)):
                self._own.add(tensor)


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yields the tensors among the arguments that the operator writes to."""
    writes = _writes_of(func)
    given = [
        args[position] if position < len(args) else kwargs.get(name)
        for position, name in writes.arguments
    ]
    if writes.unless_false is not None and given[-1] is False:
        return
    for value in given:
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, Tensor):
                yield tensor


@dataclass(frozen=True, slots=True)
class _Writes:
    """What an operator writes to."""

    arguments: tuple[tuple[int, str], ...] = ()
    """Position and name of each argument; that of `unless_false` is the last."""
    unless_false: str | None = None
    """The argument with which it writes to nothing if it is False."""


@cache
def _writes_of(func: OpOverload) -> _Writes:
    if func._opname in _HARMLESS:
        return _Writes()
    undeclared = _UNDECLARED.get(func._opname, ())
    arguments = list(enumerate(func._schema.arguments))
    written = tuple(
        (position, argument.name)
        for position, argument in arguments
        if argument.name in undeclared
        or (argument.alias_info is not None and argument.alias_info.is_write)
    )
    condition = [(p, a.name) for p, a in arguments if undeclared and a.name == "training"]
    return _Writes((*written, *condition), condition[0][1] if condition else None)


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """Yields an operator's arguments or results; they are in lists at most."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value


def _storages_in(values: Iterable[Any]) -> Iterator[torch.UntypedStorage]:
    for value in _flat(values):
        if isinstance(value, Tensor):
            yield from storages_of(value)
        elif isinstance(value, torch.UntypedStorage):
            yield value
