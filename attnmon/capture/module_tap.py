"""Where in a forward to look: the modules that attend, once they are known.

Under the tap every torch call takes a microsecond or two more. Looking into the attention modules
alone, and not at what the rest of a forward computes, spares most of that.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import get_ident

from torch import nn

from attnmon.capture.model.hooks import DetachableHook
from attnmon.capture.tap import Tap


@contextmanager
def tapped_modules(tap: Tap, modules: Collection[nn.Module]) -> Iterator[None]:
    """While this lasts, the forward of each of these modules runs under the tap.

    By hooks, and not by another `forward` in the module's place: a script may ask for that, put
    its own there, or copy the module, in the middle of the model's forward.
    """
    handles = []
    try:
        for module in modules:
            look = _ModuleTap(tap, module)
            begin, end = DetachableHook(look.begin), DetachableHook(look.end)
            handles.append(module.register_forward_pre_hook(begin, prepend=True))
            handles.append(module.register_forward_hook(end, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _ModuleTap:
    """Into one module, as often as it is called; on the thread that looks, and on no other."""

    def __init__(self, tap: Tap, module: nn.Module) -> None:
        self._tap = tap
        self._module = module
        self._thread = get_ident()
        self._inside: list[AbstractContextManager[None]] = []

    def begin(self, *_: object) -> None:
        if get_ident() == self._thread:
            inside = self._tap.inside(self._module)
            inside.__enter__()
            self._inside.append(inside)

    def end(self, *_: object) -> None:
        if get_ident() == self._thread and self._inside:
            self._inside.pop().__exit__(None, None, None)
