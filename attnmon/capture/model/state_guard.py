"""What an extra forward must leave as it was: flags, buffers, attributes, random states, caches."""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
    """Runs its body in evaluation, without gradients, and puts everything back after it.

    Bitwise and also after an exception: each module's training flag, buffers and own attributes,
    the random states of torch, Python and NumPy, the grad mode and autocast's cache. Not covered:
    Python objects that the model changes in place, such as a list it appends to.
    """
    with ExitStack() as stack:
        stack.enter_context(_random_states(model))
        stack.enter_context(_modules(model))
        stack.enter_context(_no_autocast_cache())
        stack.enter_context(_eager())
        stack.enter_context(_without_advice())
        stack.enter_context(torch.no_grad())
        yield


@contextmanager
def _modules(model: nn.Module) -> Iterator[None]:
    copies: dict[int, Tensor] = {}
    saved = [
        _Scripted(module) if isinstance(module, torch.jit.ScriptModule) else _Module(module, copies)
        for module in model.modules()
    ]
    try:
        for module in saved:
            module.lend()
        yield
    finally:
        for module in saved:
            module.restore()


class _Module:
    """One module's own state, swapped for copies while the extra forward runs.

    The buffers themselves are set aside, so that not even their version counters move, and what
    autograd saved of them stays good. `_parameters` is left alone: FSDP moves its shards there.
    """

    def __init__(self, module: nn.Module, copies: dict[int, Tensor]) -> None:
        self._module = module
        self._training = module.training
        self._buffers = dict(module._buffers)
        self._transient = set(module._non_persistent_buffers_set)
        self._attributes = None if _is_sharded(type(module)) else dict(vars(module))
        self._copies = copies

    def lend(self) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None:
                if id(buffer) not in self._copies:
                    self._copies[id(buffer)] = buffer.detach().clone()
                self._module._buffers[name] = self._copies[id(buffer)]
        # By attribute: eval() may be overridden, and train() would wake submodules kept in eval.
        self._module.training = False

    def restore(self) -> None:
        if self._attributes is not None:
            _put_back(vars(self._module), self._attributes)
        _put_back(self._module._buffers, self._buffers)
        transient = self._module._non_persistent_buffers_set
        if transient != self._transient:
            transient.clear()
            transient.update(self._transient)
        if self._module.training != self._training:
            self._module.training = self._training


class _Scripted:
    """A TorchScript module's state. It is held in C++, so that only values can be put back."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        buffers = [*module.buffers(recurse=False)]
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in buffers]

    def lend(self) -> None:
        self._module.training = False

    def restore(self) -> None:
        self._module.training = self._training
        for buffer, before in self._buffers:
            buffer.data.copy_(before)  # .data: autograd may have saved this buffer


_ABSENT = object()


def _put_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    for name, value in before.items():
        if now.get(name, _ABSENT) is not value:
            now[name] = value
    if len(now) > len(before):
        for name in now.keys() - before.keys():
            del now[name]


def _is_sharded(kind: type[nn.Module]) -> bool:
    """Whether FSDP keeps its own state in the attributes of such a module."""
    return any(base.__module__.startswith("torch.distributed.") for base in kind.__mro__)


@contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    numpy = sys.modules.get("numpy")
    legacy = None if numpy is None else numpy.random.get_state()
    python, cpu = random.getstate(), torch.get_rng_state()
    others = [(device, _of_device(device).get_rng_state(device)) for device in _devices(model)]
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        for device, state in others:
            _of_device(device).set_rng_state(state, device)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(legacy)


def _devices(model: nn.Module) -> set[torch.device]:
    """Those with a generator of their own, where the model's tensors are."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return {device for device in devices if device.type not in ("cpu", "meta")}


def _of_device(device: torch.device) -> Any:
    return torch.get_device_module(device)


@contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Casts made without gradients, left in the cache, would cut the real forward's gradients off
    (pytorch issue 158232)."""
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


_FLEX = "torch.nn.attention.flex_attention"
_COMPILERS = ("torch._dynamo", _FLEX)
"""Without these nothing is compiled, and importing the first takes seconds."""


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled code runs as it was written, and nothing is compiled, or compiled again."""
    if not any(name in sys.modules for name in _COMPILERS):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


_ADVICE = "flex_attention_performance"


@contextmanager
def _without_advice() -> Iterator[None]:
    """Once a process, flex_attention that runs eagerly says that it should be compiled.

    Here that would be no advice to the user, whose own may well be; it is kept for the user's.
    """
    shown: set[str] = getattr(sys.modules.get(_FLEX), "_WARNINGS_SHOWN", set())
    given = _ADVICE in shown
    shown.add(_ADVICE)
    try:
        yield
    finally:
        if not given:
            shown.discard(_ADVICE)
