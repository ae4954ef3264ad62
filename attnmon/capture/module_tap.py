"""Taps single modules of a forward: those with attention, once they are known.

Under the tap every torch call takes a microsecond or two more. Tapping only the attention modules
avoids most of that. Where a module calls all its attention by name (`NamedCalls`), even there no
function mode is on the stack.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import get_ident
from typing import Any

from torch import nn

from attnmon.capture.model.watched_calls import unwatch_calls, watch_calls
from attnmon.capture.named_calls import NamedCalls
from attnmon.capture.tap import Tap

CallsByName = dict[str, int]
"""How many attention calls a call of a module makes by name; `OTHERWISE` if any is made otherwise.

It is filled while the modules are tapped by the function mode, which sees all calls.
"""
OTHERWISE = -1


@contextmanager
def tapped_modules(
    tap: Tap, modules: Collection[nn.Module], calls_by_name: CallsByName | None = None
) -> Iterator[None]:
    """Runs the forwards of these modules under the tap, while the context lasts.

    It does not replace `forward`: a script may read or replace that attribute, or copy the module,
    in the middle of the model's forward. calls_by_name: what earlier forwards have shown, and this
    one is to add to; None has all modules tapped by the function mode.
    """
    calls = _TappedCalls(tap, calls_by_name)
    try:
        for module in modules:
            watch_calls(module, calls.context)
        yield
    finally:
        for module in modules:
            unwatch_calls(module, calls.context)


class _TappedCalls:
    """The calls of modules, which are tapped on the thread that made this object."""

    def __init__(self, tap: Tap, calls_by_name: CallsByName | None) -> None:
        self._tap = tap
        self._calls_by_name = calls_by_name
        self._named_calls = NamedCalls(tap.call_by_name)
        self._thread = get_ident()

    def context(self, module: nn.Module, *_: Any) -> AbstractContextManager[None]:
        if get_ident() != self._thread:
            return nullcontext()
        if self._calls_by_name is None:
            return _ModuleCall(self._tap, module)
        return _NamedModuleCall(self._tap, module, self._calls_by_name, self._named_calls)


class _ModuleCall:
    """The context of one call of a module: the tap knows of it, and is on as a function mode."""

    def __init__(self, tap: Tap, module: nn.Module) -> None:
        self._tap = tap
        self._module = module
        self._puts_on = False

    def __enter__(self) -> None:
        tap = self._tap
        self._outer, tap.module = tap.module, self._module
        self._puts_on = not tap.is_on and self._needs_mode()
        if self._puts_on:
            tap.__enter__()

    def __exit__(self, *error: Any) -> None:
        if self._puts_on:
            self._tap.__exit__(*error)
        self._tap.module = self._outer

    def _needs_mode(self) -> bool:
        return True


class _NamedModuleCall(_ModuleCall):
    """The same without the function mode, once it is known that the module calls by name."""

    def __init__(
        self, tap: Tap, module: nn.Module, calls_by_name: CallsByName, named_calls: NamedCalls
    ) -> None:
        super().__init__(tap, module)
        self._calls_by_name = calls_by_name
        self._named_calls = named_calls
        self._name = tap.name_of(module)
        self._reported = tap.reported
        self._by_name = tap.reported_by_name

    def __enter__(self) -> None:
        self._is_watching = self._named_calls.__enter__()
        super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        if self._is_watching:
            self._named_calls.__exit__()
            if error[0] is None:
                self._learn()

    def _needs_mode(self) -> bool:
        return not self._is_watching or self._calls_by_name.get(self._name, 0) <= 0

    def _learn(self) -> None:
        """Note how the module has made its calls; fewer than before are not all there were."""
        tap, known = self._tap, self._calls_by_name.get(self._name, 0)
        reported = tap.reported - self._reported
        if self._puts_on and not known and reported:
            is_by_name = tap.reported_by_name - self._by_name == reported
            self._calls_by_name[self._name] = reported if is_by_name else OTHERWISE
        elif known > 0 and reported != known:
            self._calls_by_name[self._name] = OTHERWISE
