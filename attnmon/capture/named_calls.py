"""Sees the attention functions that code calls as `F.name(…)`, without a function mode.

Under a function mode each torch call takes microseconds more. Here `torch.nn.functional` is given
another class for a while, which is asked when one of these names is looked up in it. It hands out a
stand-in only where the instruction that looks the name up is the first half of a call: nobody can
compare, keep or wrap what that one gets. For everybody else, for other threads, and where the
function was replaced, the name stands for what it stood for before.
"""

import dis
import importlib
import sys
from collections.abc import Callable, Iterator
from dis import Instruction
from functools import partial
from itertools import pairwise
from threading import get_ident
from types import CodeType, FrameType, ModuleType
from typing import Any
from weakref import ReferenceType, ref

import torch
import torch.nn.functional as F

from attnmon.capture.kernels import multi_head

Receiver = Callable[..., Any]
"""Called with a function and the arguments of its call; makes the call and returns its result."""

_GENUINE = {
    "scaled_dot_product_attention": torch._C._nn.scaled_dot_product_attention,
    "multi_head_attention_forward": multi_head.torchs_own(),
}
"""torch's own functions by name: what somebody has put in their place is left alone."""

_watching: dict[int, "NamedCalls"] = {}
"""What watches each thread, by the thread's identifier."""


class NamedCalls:
    """A context in which the calls by name that this thread makes are passed to a receiver.

    It does nothing where another one watches this thread.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def __enter__(self) -> bool:
        """Begin; returns whether it is this one that watches."""
        is_watching = _watching.setdefault(get_ident(), self) is self
        if is_watching and type(F) is ModuleType:
            _functional.__class__ = _WatchedModule
        return is_watching

    def __exit__(self, *error: object) -> None:
        thread = get_ident()
        if _watching.get(thread) is self:
            del _watching[thread]
        if not _watching and type(F) is _WatchedModule:
            _functional.__class__ = ModuleType


class _WatchedModule(ModuleType):
    """What `torch.nn.functional` is an instance of while calls by name are watched."""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


class _WatchedName:
    """One name in it. Since it has a setter, Python asks it before it looks into the module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType, kind: type | None = None) -> Any:
        found = vars(module).get(self._name, _MISSING)
        if found is _MISSING:
            raise AttributeError(self._name, name=self._name, obj=module)
        if found is _GENUINE[self._name]:
            watching = _watching.get(get_ident())
            if watching is not None and _is_called(sys._getframe(1)):
                return partial(watching.receiver, found)
        return found

    def __set__(self, module: ModuleType, value: Any) -> None:
        vars(module)[self._name] = value

    def __delete__(self, module: ModuleType) -> None:
        if vars(module).pop(self._name, _MISSING) is _MISSING:
            raise AttributeError(self._name, name=self._name, obj=module)


_MISSING = object()
for _name in _GENUINE:
    setattr(_WatchedModule, _name, _WatchedName(_name))
_functional: Any = F


_offsets: dict[int, tuple[ReferenceType[CodeType], frozenset[int]]] = {}
"""For each code by its id: itself, and where in it a name is looked up only to be called.

Code is equal to other code that reads alike, so that it is no key itself.
"""


def _is_called(frame: FrameType) -> bool:
    """Return whether what this frame looks up at present is called, and used in no other way."""
    code = frame.f_code
    reference, offsets = _offsets.get(id(code), (None, _NONE))
    if reference is None or reference() is not code:
        key, known, offsets = id(code), _offsets, frozenset(_calls_in(code))
        known[key] = ref(code, lambda _: known.pop(key, None)), offsets
    return frame.f_lasti in offsets


_NONE: frozenset[int] = frozenset()


def _calls_in(code: CodeType) -> Iterator[int]:
    """Yield the offsets of the instructions that look up one of the names to call it at once."""
    first: Instruction | None = None  # of a chain of names, as `torch.nn.functional.name`
    there = [i for i in dis.get_instructions(code) if i.opname not in _WITHOUT_EFFECT]
    for lookup, after in pairwise(there):
        is_lookup = lookup.opname in _LOOKUPS  # the constants of others may be anything
        if is_lookup and lookup.argval in _GENUINE and _is_callee(first, lookup, after):
            yield lookup.offset
        if lookup.opname != "LOAD_ATTR":
            first = lookup if lookup.opname == "LOAD_GLOBAL" else None


_LOOKUPS = ("LOAD_ATTR", "LOAD_METHOD")
_WITHOUT_EFFECT = ("EXTENDED_ARG", "CACHE")
_ARGUMENT = ("LOAD_FAST", "LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME", "PUSH_NULL")
"""With what the first argument of a call begins; what would use the function does not begin so."""


def _is_callee(first: Instruction | None, lookup: Instruction, after: Instruction) -> bool:
    """Return whether the lookup is all of ``F.name`` in ``F.name(…)``, as Python compiles it.

    A lookup for a call is one of its own kind, that of a method. Of a module that the file imports
    it is the usual one; then the place of `self` is left empty, before it or after.
    """
    if lookup.opname == "LOAD_METHOD":
        return True
    if sys.version_info >= (3, 12) and lookup.arg is not None and lookup.arg & 1:
        return True
    if sys.version_info >= (3, 13):
        return after.opname == "PUSH_NULL"
    leaves_room = first is not None and first.arg is not None and first.arg & 1
    return bool(leaves_room) and after.opname.startswith(_ARGUMENT)
