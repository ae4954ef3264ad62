"""Taps single modules of a forward: those with attention, once they are known.

Under the tap every torch call takes a microsecond or two more. Tapping only the attention modules
avoids most of that. Where a module calls all its attention by name (`NamedCalls`), even there no
function mode is on the stack.
"""

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
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


class TappedModules:
    """Runs the forwards of some modules under the tap while it lasts, on the thread that made it.

    It does not replace `forward`: a script may read or replace that attribute, or copy the module,
    in the middle of the model's forward.
    """

    def __init__(
        self, tap: Tap, modules: Collection[nn.Module], calls_by_name: CallsByName | None = None
    ) -> None:
        """calls_by_name: what earlier forwards have shown, and this one is to add to; None has all
        modules tapped by the function mode.
        """
        self._tap = tap
        self._modules = modules
        self._known = {} if calls_by_name is None else calls_by_name
        self._named_calls = None if calls_by_name is None else NamedCalls(tap.call_by_name)
        self._thread = get_ident()

    def __enter__(self) -> None:
        try:
            for module in self._modules:
                watch_calls(module, self._context)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        for module in self._modules:
            unwatch_calls(module, self._context)

    def _context(self, module: nn.Module, *_: Any) -> AbstractContextManager[None]:
        if get_ident() != self._thread:
            return nullcontext()
        return _ModuleCall(self._tap, module, self._known, self._named_calls)


class _ModuleCall:
    """The context of one call of a module, of which the tap knows.

    The tap is on as a function mode, unless it is known that the module calls by name.
    """

    __slots__ = (
        "_by_name", "_is_watching", "_known", "_module", "_name", "_named_calls",
        "_outer", "_puts_on", "_reported", "_tap",
    )  # fmt: skip

    def __init__(
        self, tap: Tap, module: nn.Module, known: CallsByName, named_calls: NamedCalls | None
    ) -> None:
        self._tap = tap
        self._module = module
        self._known = known
        self._named_calls = named_calls

    def __enter__(self) -> None:
        tap, named_calls = self._tap, self._named_calls
        self._name = tap.name_of(self._module)
        self._reported, self._by_name = tap.reported, tap.reported_by_name
        self._is_watching = named_calls is not None and named_calls.__enter__()
        self._outer, tap.module = tap.module, self._module
        is_known = self._is_watching and self._known.get(self._name, 0) > 0
        self._puts_on = not (is_known or tap.is_on)
        if self._puts_on:
            tap.__enter__()

    def __exit__(self, *error: Any) -> None:
        tap = self._tap
        if self._puts_on:
            tap.__exit__(*error)
        tap.module = self._outer
        if self._is_watching and self._named_calls is not None:
            self._named_calls.__exit__()
            reported = tap.reported - self._reported
            known = self._known.get(self._name, 0)
            if error[0] is None and reported != known:
                self._learn(reported, known)

    def _learn(self, reported: int, known: int) -> None:
        """Note how the module has made its calls; fewer than before are not all there were."""
        if known > 0:
            self._known[self._name] = OTHERWISE
        elif self._puts_on and not known:
            is_by_name = self._tap.reported_by_name - self._by_name == reported
            self._known[self._name] = reported if is_by_name else OTHERWISE
