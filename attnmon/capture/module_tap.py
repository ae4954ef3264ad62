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
        self._sees_names = False
        self._thread = get_ident()

    def __enter__(self) -> None:
        try:
            for module in self._modules:
                watch_calls(module, self._context)
            if self._named_calls is not None:
                self._sees_names = self._named_calls.__enter__()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        if self._named_calls is not None:
            self._named_calls.__exit__()
        for module in self._modules:
            unwatch_calls(module, self._context)

    def _context(self, module: nn.Module, *_: Any) -> AbstractContextManager[None]:
        if get_ident() != self._thread:
            return nullcontext()
        return _ModuleCall(self._tap, module, self._known if self._sees_names else None)


class _ModuleCall:
    """The context of one call of a module, of which the tap knows.

    The tap is on as a function mode, unless it is known that the module calls by name.
    """

    __slots__ = (
        "_by_name", "_known", "_module", "_name", "_outer", "_puts_on", "_reported", "_tap",
    )  # fmt: skip

    def __init__(self, tap: Tap, module: nn.Module, known: CallsByName | None) -> None:
        """`known`: how modules call, to be added to; None where calls by name are not seen."""
        self._tap = tap
        self._module = module
        self._known = known

    def __enter__(self) -> None:
        tap, known = self._tap, self._known
        self._name = tap.names.get(id(self._module), "")
        self._reported, self._by_name = tap.reported, tap.reported_by_name
        self._outer, tap.module = tap.module, self._module
        is_known = known is not None and known.get(self._name, 0) > 0
        self._puts_on = not (is_known or tap.is_on)
        if self._puts_on:
            tap.__enter__()

    def __exit__(self, *error: Any) -> None:
        tap = self._tap
        if self._puts_on:
            tap.__exit__(*error)
        tap.module = self._outer
        if self._known is not None and error[0] is None:
            reported = tap.reported - self._reported
            if reported != self._known.get(self._name, 0):
                self._learn(self._known, reported)

    def _learn(self, known: CallsByName, reported: int) -> None:
        """Note how the module has made its calls; fewer than before are not all there were."""
        before = known.get(self._name, 0)
        if before > 0:
            known[self._name] = OTHERWISE
        elif self._puts_on and not before:
            is_by_name = self._tap.reported_by_name - self._by_name == reported
            known[self._name] = reported if is_by_name else OTHERWISE
