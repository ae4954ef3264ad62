"""The tap inside the model's own next forward: nothing is computed twice.

Hooks stand on the model only from the moment a forward is wanted until it is no longer. They do
not follow the model elsewhere: in a copy, or in a file, there is a stand-in that does nothing.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch import nn

from attnmon.capture.listener import TapListener
from attnmon.capture.model.hooks import DetachableHook
from attnmon.capture.model.inputs import tensors_in
from attnmon.capture.model.module_names import unwrap
from attnmon.capture.module_tap import tapped_modules
from attnmon.capture.tap import Tap

TapScope = tuple[Mapping[int, str], Sequence[nn.Module]]
"""Modules' names by id (`module_names`), and the modules to tap; if none, the whole forward."""


class ForwardTap:
    """Taps each forward of a model that is made with gradients, until `remove`.

    scope_of: asked at each forward which modules to tap.

    Of forwards at the same time on several threads, as DataParallel makes them, the first is
    tapped: torch-function modes belong to their thread.
    """

    def __init__(
        self,
        model: nn.Module,
        listener: TapListener,
        scope_of: Callable[[nn.Module], TapScope],
        handwritten: bool = True,
    ) -> None:
        root = unwrap(model)
        self._listener = listener
        self._scope_of = scope_of
        self._handwritten = handwritten
        self._looking = ExitStack()
        self._depth = 0
        self._threads: dict[str, int] = {}
        self._tap: Tap | None = None
        enter, leave = DetachableHook(self._enter), DetachableHook(self._leave)
        self._handles = (
            root.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
            root.register_forward_hook(leave, always_call=True),
        )

    def remove(self) -> None:
        """Look on no more; also at a forward that was cut short."""
        for handle in self._handles:
            handle.remove()
        self._abandon()

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if self._threads.setdefault("looked at", get_ident()) != get_ident():  # atomic
            return
        if self._depth and not _is_inside_its_own(module):
            self._abandon()
        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled():
            return  # its own inner call, or a validation between two steps
        try:
            with self._listener.timed():
                self._listener.on_forward_start(tensors_in((args, kwargs)))
                self._look(module)
        except Exception as error:
            self._listener.on_error(error)

    def _abandon(self) -> None:
        """The forward before was cut short by Ctrl-C, whose end no hook tells."""
        self._tap, self._depth = None, 0
        try:
            self._looking.close()
        except Exception as error:
            self._listener.on_error(error)

    def _look(self, module: nn.Module) -> None:
        names, modules = self._scope_of(module)
        tap = Tap(names, self._listener, self._handwritten)
        self._looking.enter_context(tapped_modules(tap, modules) if modules else tap)
        self._tap = tap

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._threads.get("looked at") != get_ident():
            return
        self._depth -= 1
        if self._depth:
            return
        try:
            if self._tap is not None:
                self._end(self._tap, output is not None)
        except Exception as error:
            self._listener.on_error(error)
        finally:
            self._threads.clear()  # from here on it may be another's

    def _end(self, tap: Tap, well: bool) -> None:
        self._tap = None
        with self._listener.timed():
            self._looking.close()
            tap.finish()
            self._listener.on_forward_end(well)


def _is_inside_its_own(module: nn.Module) -> bool:
    """Whether this call of the module is made in another one of it, which is still running."""
    calls = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_call_impl" and frame.f_locals.get("self") is module:
            calls += 1
        frame = frame.f_back
    return calls > 1


def is_sharded(model: nn.Module) -> bool:
    """Whether a forward of it gathers its parameters from other processes.

    Then one process alone cannot make an extra forward: it would wait for the others for ever.
    FSDP1 is told by its class, FSDP2 and tensor parallelism by DTensor, ZeRO-3 by its mark.
    """
    if any(_named(module, "FullyShardedDataParallel") for module in model.modules()):
        return True
    return any(_named(p, "DTensor") or hasattr(p, "ds_id") for p in model.parameters())


def _named(value: object, name: str) -> bool:
    return any(base.__name__ == name for base in type(value).__mro__)
