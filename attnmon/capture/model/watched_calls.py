"""Runs the calls of a module inside contexts of ours, without a hook on the module.

torch calls a module's `_compiled_call_impl`, where there is one, in place of its hooks and its
forward: so does `nn.Module.compile` work. Unlike a hook it is not copied or saved with the module,
and `torch.jit.script` does not try to compile it.
"""

import sys
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import nn
from torch.fx import _symbolic_trace

CallContext = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], AbstractContextManager[object]]
"""Given the module, its arguments and its keyword arguments, returns what its call runs in."""

_ATTRIBUTE = "_compiled_call_impl"
# torch.jit.script takes the attribute's own annotation for a type that it has to know. Of what is
# annotated as `forward` is, it reads the value, and leaves out what it cannot compile.
nn.Module.__annotations__[_ATTRIBUTE] = nn.Module.__annotations__["forward"]


def watch_calls(module: nn.Module, context: CallContext) -> None:
    """Runs the module's calls in this context; does nothing if the module is compiled.

    context: a bound method, held by a weak reference: it lasts as long as its object.
    """
    watched = vars(module).get(_ATTRIBUTE)
    if watched is None:
        watched = vars(module)[_ATTRIBUTE] = WatchedCalls(module)
    if isinstance(watched, WatchedCalls):
        owner: Any = context
        watched.contexts.append((weakref.ref(owner.__self__), owner.__func__))


def unwatch_calls(module: nn.Module, context: CallContext) -> None:
    """Undoes `watch_calls`."""
    watched = vars(module).get(_ATTRIBUTE)
    if isinstance(watched, WatchedCalls):
        undone: Any = context
        watched.contexts = [
            (owner, function)
            for owner, function in watched.contexts
            if (there := owner()) is not None
            and (there is not undone.__self__ or function is not undone.__func__)
        ]
        if not watched.contexts:
            del vars(module)[_ATTRIBUTE]


class WatchedCalls:
    """What torch calls in place of a module that is watched."""

    def __init__(self, module: nn.Module) -> None:
        self.contexts: list[tuple[weakref.ref[Any], Callable[..., AbstractContextManager[object]]]]
        self.contexts = []
        """The object and the function of each bound method."""
        self._module = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module: Any = self._module()
        if torch.compiler.is_compiling():
            return module._call_impl(*args, **kwargs)
        # A shallow copy of the module, such as DataParallel makes, has this object as well.
        called: Any = sys._getframe(1).f_locals["self"]
        if not (called is module or hasattr(called, "_is_replica")) or is_traced():
            return called._call_impl(*args, **kwargs)
        if len(self.contexts) == 1:
            ((reference, function),) = self.contexts
            owner = reference()
            if owner is not None:
                with function(owner, called, args, kwargs):
                    return called._call_impl(*args, **kwargs)
        with ExitStack() as stack:
            for context in self._alive(called):
                stack.enter_context(context(called, args, kwargs))
            return called._call_impl(*args, **kwargs)

    def _alive(self, called: nn.Module) -> list[CallContext]:
        """Returns the contexts whose objects live; where none does, nothing is to stay here."""
        alive: list[CallContext] = [
            function.__get__(owner)
            for reference, function in self.contexts
            if (owner := reference()) is not None
        ]
        if not alive:
            vars(called).pop(_ATTRIBUTE, None)
        return alive

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def is_traced() -> bool:
    """Returns whether torch records what runs now, as a graph to which nothing may be added."""
    if torch._C._get_tracing_state() is not None or _symbolic_trace._is_fx_tracing_flag:
        return True
    if not torch._C._len_torch_dispatch_stack():
        return False
    modes = torch._C._TorchDispatchModeKey
    return (
        torch._C._get_dispatch_mode(modes.PROXY) is not None
        or torch._C._get_dispatch_mode(modes.FAKE) is not None
    )
