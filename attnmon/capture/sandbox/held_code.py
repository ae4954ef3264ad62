"""What functions and classes hold besides their code, as it was, and how it is put back."""

import sys
import threading
from collections.abc import Iterable
from contextvars import ContextVar
from functools import _lru_cache_wrapper, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor

from attnmon.capture.model.plain_objects import is_object_of_the_users, is_opaque
from attnmon.capture.sandbox.held_containers import (
    SEQUENCES,
    WEAK,
    Held,
    HeldNames,
    is_iterator,
)
from attnmon.capture.sandbox.held_values import (
    LEAVES,
    HeldEnvironment,
    held_generator,
    is_writable_array,
)

CODE = (
    FunctionType, MethodType, partial, CellType, staticmethod, classmethod, property,
    _lru_cache_wrapper,
)  # fmt: skip
"""Kinds of what can be called, and the cells in which functions enclose variables."""

_DEFAULTS = ("__defaults__", "__kwdefaults__")

CODE_AND_CLASSES = (type, *CODE)

_NAMELESS = (type, ModuleType, FunctionType, staticmethod, classmethod)

Found = tuple[list[Held], Iterable[object]]
"""States to be put back, and the objects to look at next."""


class HeldCache:
    """The results that a function keeps (`functools.lru_cache`): none of the user's is dropped."""

    def __init__(self, held: Any) -> None:
        self._held = held
        self._before = held.cache_info().currsize

    def put_back(self) -> None:
        """Empties a cache that was empty. Raises `ValueError` for another that has grown."""
        if self._held.cache_info().currsize == self._before:
            return
        if self._before:
            raise ValueError(f"the cache of {self._held.__qualname__}")
        self._held.cache_clear()


def hold_code(value: Any) -> Found:
    """Returns what a function or method encloses, and the globals that it names."""
    if isinstance(value, FunctionType):
        return _hold_function(value)
    if isinstance(value, MethodType):
        return [], (value.__self__, value.__func__)
    if isinstance(value, partial):
        return [], (value.func, value.args, value.keywords)
    if isinstance(value, (staticmethod, classmethod)):
        return [], (value.__func__,)
    if isinstance(value, property):
        return [], (value.fget, value.fset)
    if isinstance(value, CellType):
        return _hold_cell(value)
    if is_opaque(value):
        return [], ()
    return [HeldCache(value)], (value.__wrapped__,)


def hold_class(kind: type) -> Found:
    """Returns the attributes of a class that may be state, and its methods and bases."""
    if is_opaque(kind):
        return [], ()
    own = vars(kind)
    names = [name for name, value in own.items() if name[:2] != "__" and _is_state(value)]
    methods = [value for value in own.values() if isinstance(value, CODE)]
    held = HeldNames(kind, names, own.get, partial(setattr, kind))
    return [held], (*(own[name] for name in names), *methods, *kind.__bases__)


def _hold_cell(cell: CellType) -> Found:
    try:
        content = cell.cell_contents
    except ValueError:  # the cell is still empty
        return [], ()
    return [HeldNames(cell, ["cell_contents"], partial(getattr, cell), partial(setattr, cell))], (
        content,
    )


def _hold_function(function: FunctionType) -> Found:
    if is_opaque(function):
        return [], ()
    held, named = _hold_globals(function)
    read, write = partial(getattr, function), partial(setattr, function)
    defaults = HeldNames(function, _DEFAULTS, read, write)
    enclosed = function.__closure__ or ()
    return [*held, defaults], (*named, *enclosed, *defaults.values(), function.__dict__)


def _hold_globals(function: FunctionType) -> Found:
    """Holds what the function's code names: globals, and what is in modules that it names."""
    mentioned = names_in(function.__code__)
    imported = (sys.modules[name] for name in mentioned if name in sys.modules)
    modules = [*_enclosed_modules(function), *imported]
    spaces, held, found = [function.__globals__], list[Held](), list[object]()
    spaces += [vars(module) for module in modules if not is_opaque(module)]
    if "environ" in mentioned:
        held.append(HeldEnvironment())
    for space in spaces:  # it grows
        there = {name: space[name] for name in mentioned if name in space}
        states = [name for name, value in there.items() if _is_state(value)]
        if states:
            held.append(HeldNames(space, states, space.get, space.__setitem__))
            found += [there[name] for name in states]
        for value in there.values():
            if isinstance(value, ModuleType):
                if not is_opaque(value) and all(vars(value) is not other for other in spaces):
                    spaces.append(vars(value))
            elif isinstance(value, CODE_AND_CLASSES):
                found.append(value)
    return held, found


def _enclosed_modules(function: FunctionType) -> list[ModuleType]:
    cells = [cell for cell in function.__closure__ or () if cell != CellType()]  # or it is empty
    return [c.cell_contents for c in cells if isinstance(c.cell_contents, ModuleType)]


def _is_state(value: object) -> bool:
    """Whether what a global or a class's attribute refers to may be a model's state."""
    return not isinstance(value, _NAMELESS) and (
        type(value) in LEAVES
        or isinstance(value, (Tensor, dict, set, tuple, ContextVar, *SEQUENCES, *WEAK))
        or is_iterator(value)
        or is_writable_array(value)
        or held_generator(value) is not None
        or isinstance(value, threading.local)
        or is_object_of_the_users(value)
    )


def names_in(code: CodeType) -> set[str]:
    """Returns the names that a function's code refers to, and the code of functions in it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= names_in(constant)
    return names
