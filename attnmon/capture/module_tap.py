"""Taps single modules of a forward: those with attention, once they are known.

Under the tap every torch call takes a microsecond or two more. Tapping only the attention modules
avoids most of that.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any

from torch import nn

from attnmon.capture.model.watched_calls import unwatch_calls, watch_calls
from attnmon.capture.tap import Tap


@contextmanager
def tapped_modules(tap: Tap, modules: Collection[nn.Module]) -> Iterator[None]:
    """Runs the forwards of these modules under the tap, while the context lasts.

    It does not replace `forward`: a script may read or replace that attribute, or copy the module,
    in the middle of the model's forward.
    """
    calls = _TappedCalls(tap)
    try:
        for module in modules:
            watch_calls(module, calls.context)
        yield
    finally:
        for module in modules:
            unwatch_calls(module, calls.context)


class _TappedCalls:
    """The calls of modules, which are tapped on the thread that made this object."""

    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        self._thread = get_ident()

    def context(self, module: nn.Module, *_: Any) -> AbstractContextManager[None]:
        return self._tap.within(module) if get_ident() == self._thread else nullcontext()
