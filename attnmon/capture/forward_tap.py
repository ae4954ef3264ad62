"""Taps the model's own forward, so that nothing is computed twice.

Hooks are on the model only while its next forward is wanted. A copied or saved model has hooks that
do nothing in their place (`DetachableHook`).
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch import nn

from attnmon.capture.model.hooks import DetachableHook
from attnmon.capture.model.inputs import tensors_in
from attnmon.capture.model.module_names import unwrap
from attnmon.capture.module_tap import tapped_modules
from attnmon.capture.tap import Tap
from attnmon.capture.tap_listener import TapListener

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
        self._tapping = ExitStack()
        self._depth = 0
        self._threads: dict[str, int] = {}
        self._tap: Tap | None = None
        enter, leave = DetachableHook(self._enter), DetachableHook(self._leave)
        self._handles = (
            root.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
            root.register_forward_hook(leave, always_call=True),
        )

    def remove(self) -> None:
        """Removes the hooks, and the tap of a forward that was interrupted."""
        for handle in self._handles:
            handle.remove()
        self._abandon()

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if self._threads.setdefault("tapped", get_ident()) != get_ident():  # atomic
            return
        if self._depth and not _is_nested_call(module):
            self._abandon()
        self._depth += 1
        if self._depth > 1 or not torch.is_grad_enabled():
            return  # the model calls itself, or a validation between two steps
        try:
            with self._listener.timed():
                self._listener.on_forward_start(tensors_in((args, kwargs)))
                self._start_tap(module)
        except Exception as error:
            self._listener.on_error(error)

    def _abandon(self) -> None:
        """Ends the tap of a forward that was interrupted by Ctrl-C, for which no hook runs."""
        self._tap, self._depth = None, 0
        try:
            self._tapping.close()
        except Exception as error:
            self._listener.on_error(error)

    def _start_tap(self, module: nn.Module) -> None:
        names, modules = self._scope_of(module)
        tap = Tap(names, self._listener, self._handwritten)
        self._tapping.enter_context(tapped_modules(tap, modules) if modules else tap)
        self._tap = tap

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if self._threads.get("tapped") != get_ident():
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
            self._threads.clear()  # the next forward may be on another thread

    def _end(self, tap: Tap, completed: bool) -> None:
        self._tap = None
        with self._listener.timed():
            self._tapping.close()
            tap.finish()
            self._listener.on_forward_end(completed)


def _is_nested_call(module: nn.Module) -> bool:
    """Whether this call of the module runs inside another call of the same module."""
    calls = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_call_impl" and frame.f_locals.get("self") is module:
            calls += 1
        frame = frame.f_back
    return calls > 1
