"""Taps single modules of a forward: those with attention, once they are known.

Under the tap every torch call takes a microsecond or two more. Tapping only the attention modules
avoids most of that.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident

from torch import nn

from attnmon.capture.model.hooks import DetachableHook
from attnmon.capture.tap import Tap


@contextmanager
def tapped_modules(tap: Tap, modules: Collection[nn.Module]) -> Iterator[None]:
    """Runs the forwards of these modules under the tap, while the context lasts.

    It uses hooks and does not replace `forward`: a script may read or replace that attribute, or
    copy the module, in the middle of the model's forward.
    """
    handles = []
    try:
        for module in modules:
            module_tap = _ModuleTap(tap, module)
            begin, end = DetachableHook(module_tap.begin), DetachableHook(module_tap.end)
            handles.append(module.register_forward_pre_hook(begin, prepend=True))
            handles.append(module.register_forward_hook(end, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _ModuleTap:
    """The hooks of one module, which act only on the thread that made them."""

    def __init__(self, tap: Tap, module: nn.Module) -> None:
        self._tap = tap
        self._module = module
        self._thread = get_ident()
        self._contexts: list[AbstractContextManager[None]] = []
        """One for each call of the module that is running."""

    def begin(self, *_: object) -> None:
        if get_ident() == self._thread:
            context = self._tap.within(self._module)
            context.__enter__()
            self._contexts.append(context)

    def end(self, *_: object) -> None:
        if get_ident() == self._thread and self._contexts:
            self._contexts.pop().__exit__(None, None, None)
