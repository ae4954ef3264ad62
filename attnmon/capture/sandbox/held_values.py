"""Tensors, arrays and random generators as they were, and how they are put back."""

import ctypes
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnmon.capture.model.input_parts import is_array

MOST_ARRAY_BYTES = 1 << 28
"""Of larger NumPy arrays no copy is made."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
LEAVES = frozenset(_PLAIN)
"""Kinds of values that never change, and hold nothing that does."""

_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class HeldTensor:
    """Which memory a tensor has, its gradient and its flag; the memory itself is not copied."""

    def __init__(self, held: Tensor, name: str) -> None:
        self._held = held
        self.name = name
        self._data = held.data
        self._place = _place(held)
        self._version = _version(held)
        self._requires_grad = held.requires_grad
        self._grad = held.grad if held.is_leaf else None
        self._hooks = [dict(getattr(held, name, None) or {}) for name in _HOOKS]

    def put_back(self) -> None:
        held = self._held
        if _place(held) != self._place:  # by `.data = …`, which no operator shows
            held.data = self._data
        if held.requires_grad != self._requires_grad and held.is_leaf:
            held.requires_grad_(self._requires_grad)
        if held.is_leaf and held.grad is not self._grad:
            held.grad = self._grad
        for name, before in zip(_HOOKS, self._hooks, strict=True):
            hooks = getattr(held, name, None)
            if hooks is not None and hooks != before:
                hooks.clear()
                hooks.update(before)

    @property
    def was_written_to(self) -> bool:
        """Whether its memory was written to, which nobody has seen in time."""
        return _version(self._held) != self._version


class HeldArray:
    """The content of a NumPy array."""

    def __init__(self, held: Any) -> None:
        self._held = held
        self._before = held.copy()

    def put_back(self) -> None:
        if self._held.tobytes() != self._before.tobytes():
            self._held[...] = self._before


class HeldBytes:
    """The bytes of a C value, also of one that processes share (`multiprocessing.Value`)."""

    def __init__(self, held: Any) -> None:
        self._view = memoryview(getattr(held, "get_obj", lambda: held)()).cast("B")
        self._before = bytes(self._view)

    def put_back(self) -> None:
        if self._view != self._before:
            self._view[:] = self._before


class HeldEnvironment:
    """The variables of the process's environment."""

    def __init__(self) -> None:
        self._before = dict(os.environ)

    def put_back(self) -> None:
        now = dict(os.environ)
        for name in now.keys() - self._before.keys():
            del os.environ[name]
        os.environ.update({n: v for n, v in self._before.items() if now.get(n) != v})


class HeldState:
    """The state of a random generator."""

    def __init__(self, get: Callable[[], Any], put: Callable[[Any], object]) -> None:
        self._put = put
        self._before = get()

    def put_back(self) -> None:
        self._put(self._before)


def held_generator(value: object) -> HeldState | None:
    """Returns the state of a random generator of torch, Python or NumPy; None for anything else."""
    if isinstance(value, torch.Generator):
        return HeldState(value.get_state, value.set_state)
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return HeldState(value.getstate, value.setstate)
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.random.RandomState):
        return HeldState(value.get_state, value.set_state)
    if isinstance(value, numpy.random.Generator):
        return held_generator(value.bit_generator)
    if isinstance(value, numpy.random.BitGenerator):
        return HeldState(lambda: value.state, lambda state: setattr(value, "state", state))
    return None


def is_writable_array(value: Any) -> bool:
    """Returns whether a value is a NumPy array that may be written to."""
    return is_array(value) and bool(value.flags.writeable)


def is_shared_value(value: object) -> bool:
    """Returns whether this is a number or an array of `ctypes`, or memory that is shared."""
    if isinstance(value, memoryview):
        return value.c_contiguous and not value.readonly
    package, _, module = type(value).__module__.partition(".")
    is_number = isinstance(value, (ctypes._SimpleCData, ctypes.Array, ctypes.Structure))
    return is_number or (package, module) == ("multiprocessing", "sharedctypes")


def _place(tensor: Tensor) -> tuple[object, ...]:
    """Returns what is another one after `.data = …` or a change of form; () if it has none."""
    try:
        storage = tensor.untyped_storage()._cdata
        return storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype
    except (NotImplementedError, RuntimeError):  # sparse tensors, and those of other layouts
        return ()


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
