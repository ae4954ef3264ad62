"""Runs an extra forward in evaluation, on copies of the buffers, and restores random states."""

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def preserve_state(model: nn.Module) -> Iterator[None]:
    """Runs its body in evaluation, without gradients and on copies of the model's buffers.

    Restores bitwise, also after an exception: each module's training flag and buffers, the random
    states of torch, Python and NumPy, the grad mode and autocast's cache. Whatever else the modules
    hold is the sandbox's (`sandboxed`).
    """
    with ExitStack() as stack:
        stack.enter_context(_random_states(model))
        stack.enter_context(_evaluation(model))
        stack.enter_context(_no_autocast_cache())
        stack.enter_context(_no_compilation())
        stack.enter_context(_no_flex_warning())
        stack.enter_context(torch.no_grad())
        yield


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    copies: dict[int, Tensor] = {}
    states = [_state_of(module, copies) for module in model.modules()]
    try:
        for state in states:
            state.enter_evaluation()
        yield
    finally:
        for state in states:
            state.restore()


def _state_of(
    module: nn.Module, copies: dict[int, Tensor]
) -> "_ModuleState | _ScriptedModuleState":
    if isinstance(module, torch.jit.ScriptModule):
        return _ScriptedModuleState(module)
    return _ModuleState(module, copies)


class _ModuleState:
    """One module's own state, replaced by copies while the extra forward runs.

    The buffers themselves are not touched, so that their version counters stay and what autograd
    saved of them remains valid. `_parameters` is left alone: FSDP moves its shards there.
    """

    def __init__(self, module: nn.Module, copies: dict[int, Tensor]) -> None:
        """copies: of buffers by id, shared by all modules, since modules may share buffers."""
        self._module = module
        self._training = module.training
        self._buffers = dict(module._buffers)
        self._copies = copies

    def enter_evaluation(self) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None:
                if id(buffer) not in self._copies:
                    self._copies[id(buffer)] = buffer.detach().clone()
                self._module._buffers[name] = self._copies[id(buffer)]
        # By attribute: eval() may be overridden, and train() would wake submodules kept in eval.
        self._module.training = False

    def restore(self) -> None:
        self._module._buffers.update(self._buffers)
        if self._module.training != self._training:
            self._module.training = self._training


class _ScriptedModuleState:
    """The state of a TorchScript module. C++ holds it, so that only values can be restored."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        buffers = [*module.buffers(recurse=False)]
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in buffers]

    def enter_evaluation(self) -> None:
        self._module.training = False

    def restore(self) -> None:
        self._module.training = self._training
        for buffer, before in self._buffers:
            buffer.data.copy_(before)  # .data: autograd may have saved this buffer


@contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    numpy = sys.modules.get("numpy")
    legacy = None if numpy is None else numpy.random.get_state()
    python, cpu = random.getstate(), torch.get_rng_state()
    others = [(device, _device_module(device).get_rng_state(device)) for device in _devices(model)]
    try:
        yield
    finally:
        torch.set_rng_state(cpu)
        for device, state in others:
            _device_module(device).set_rng_state(state, device)
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(legacy)


def _devices(model: nn.Module) -> set[torch.device]:
    """Returns the devices of the model's tensors that have a random generator of their own."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return {device for device in devices if device.type not in ("cpu", "meta")}


def _device_module(device: torch.device) -> Any:
    return torch.get_device_module(device)


@contextmanager
def _no_autocast_cache() -> Iterator[None]:
    """Switches autocast's cache off.

    Casts made without gradients would stay in the cache and cut off the gradients of the model's
    own forward (pytorch issue 158232).
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


_FLEX = "torch.nn.attention.flex_attention"
_COMPILERS = ("torch._dynamo", _FLEX)
"""Modules without which nothing can be compiled. Importing the first takes seconds."""


@contextmanager
def _no_compilation() -> Iterator[None]:
    """Runs compiled code eagerly, and compiles nothing."""
    if not any(name in sys.modules for name in _COMPILERS):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


_FLEX_WARNING = "flex_attention_performance"
"""Key of the warning of flex_attention that it should be compiled."""


@contextmanager
def _no_flex_warning() -> Iterator[None]:
    """Suppresses the warning that flex_attention gives once in a process if it runs eagerly.

    An eager call here says nothing about the user's own calls. The warning stays for those.
    """
    shown: set[str] = getattr(sys.modules.get(_FLEX), "_WARNINGS_SHOWN", set())
    was_shown = _FLEX_WARNING in shown
    shown.add(_FLEX_WARNING)
    try:
        yield
    finally:
        if not was_shown:
            shown.discard(_FLEX_WARNING)
