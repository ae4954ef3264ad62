"""Finds other threads that could change what an extra forward puts back.

What such a thread adds to a container meanwhile cannot be told from what the forward adds, and
would be lost. A thread reaches what its frames hold and what its code names, however far away.
"""

import gc
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from dis import EXTENDED_ARG, opmap
from inspect import CO_OPTIMIZED
from types import CellType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

from attnmon.capture.model.plain_objects import is_closed
from attnmon.capture.sandbox.held_code import CODE, hold_class, hold_code, names_in
from attnmon.capture.sandbox.held_values import LEAVES

MOST_REACHED = 20_000
"""How many objects of a thread are looked at; of one that reaches more it is not known."""

MOST_REFERENTS = 200_000
"""The same, with numbers and texts."""

_STORES = {
    opmap[name]: name != "STORE_DEREF"
    for name in ("STORE_GLOBAL", "STORE_ATTR", "STORE_DEREF", "DELETE_GLOBAL", "DELETE_ATTR")
}
"""Operations that set a variable, and whether their argument is its name."""

_DRAWING = frozenset(
    {"random", "rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal"}
)
"""Names by which code that names NumPy or torch as well draws random numbers."""


@dataclass(frozen=True, slots=True)
class ReachingThread:
    """A thread that runs, and what it could change."""

    ident: int
    name: str
    danger: str
    """What it may do, as "may change a deque …"."""

    @property
    def runs(self) -> bool:
        """Whether a thread of this number is there still."""
        return self.ident in sys._current_frames()


def find_reaching_thread(
    restored: Collection[int], places: Collection[tuple[int, str]]
) -> ReachingThread | None:
    """Returns another thread that could change one of these objects; None if there is none.

    restored: objects that are put back, by id. places: (id of a namespace, name) of variables.
    """
    own, names = threading.get_ident(), {t.ident: t.name for t in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident == own or _waits_for_this_one(frame):
            continue
        if danger := _danger_of(frame, restored, places):
            return ReachingThread(ident, names.get(ident, str(ident)), danger)
    return None


def _danger_of(
    frame: FrameType, restored: Collection[int], places: Collection[tuple[int, str]]
) -> str:
    """Returns what a thread may do; of one that cannot be looked through the worst is assumed."""
    try:
        return _Reach(frame, restored).danger(places)
    except Exception as error:  # of an object of the user's
        return f"cannot be looked through ({type(error).__name__}: {error})"


class _Reach:
    """What one thread gets at from its frames, up to the first object that is put back."""

    def __init__(self, frame: FrameType, restored: Collection[int]) -> None:
        self._restored = restored
        self._met: object = None
        self._seen: dict[int, object] = {}
        self._spaces: set[int] = set()
        """Ids of the namespaces that its functions name."""
        self._stored: set[str] = set()
        """Names of the variables and attributes that its functions set."""
        self._draws = False
        """Whether its functions draw from a random generator of the whole process."""
        self._queue: list[object] = []
        self._referents = 0
        for value in _held_by_frames(frame):
            self._add((value,))
        while self._queue and self._met is None and not self._is_too_large:
            self._add(self._referred_to_by(self._queue.pop()))

    def danger(self, places: Collection[tuple[int, str]]) -> str:
        """Returns what it may do to what is put back; empty for nothing."""
        if self._met is not None:
            return f"may change a {type(self._met).__qualname__} that the model's code reaches too"
        if self._is_too_large:
            return "reaches more objects than are looked through"
        if self._draws:
            return "may draw from a random generator whose state is put back"
        known = self._spaces.union(self._seen)
        stored = (name for space, name in places if space in known and name in self._stored)
        return next((f"may set {name}, which the model's code names too" for name in stored), "")

    @property
    def _is_too_large(self) -> bool:
        return len(self._seen) > MOST_REACHED or self._referents > MOST_REFERENTS

    def _add(self, values: Iterable[Any]) -> None:
        for value in values:
            self._referents += 1
            if type(value) in LEAVES or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            if id(value) in self._restored:
                self._met = value
            self._queue.append(value)

    def _referred_to_by(self, value: Any) -> Iterable[object]:
        # `isinstance` asks the value, which may be a proxy of what is gone, or run code of its own.
        kind = type(value)
        if issubclass(kind, type):
            return hold_class(value)[1]
        if kind is FunctionType:
            self._note_stores(value)
            found = [child for child in hold_code(value)[1] if child is not vars(value)]
            return [*found, *vars(value).values()]  # its attributes are names like any others
        if issubclass(kind, CODE):
            return hold_code(value)[1]
        if issubclass(kind, (Tensor, ModuleType, CodeType)) or is_closed(kind):
            return ()
        return gc.get_referents(value)

    def _note_stores(self, function: FunctionType) -> None:
        """Notes the names that a function sets, where they may be, and whether it draws numbers."""
        names = names_in(function.__code__)
        named = map(function.__globals__.get, names)
        modules: list[Any] = [each for each in named if issubclass(type(each), ModuleType)]
        spaces = (function.__globals__, vars(function), *map(vars, modules))
        self._spaces.update(map(id, spaces))
        self._stored.update(_stored_in(function.__code__))
        kinds = {module.__name__ for module in modules}
        is_numeric = not kinds.isdisjoint(("numpy", "torch"))
        self._draws |= not kinds.isdisjoint(("random", "numpy.random")) or (
            is_numeric and not names.isdisjoint(_DRAWING)
        )


def _held_by_frames(innermost: FrameType) -> Iterator[object]:
    """Yields the functions that a thread is in, and the values of their variables."""
    frame: FrameType | None = innermost
    while frame is not None:
        code = frame.f_code
        empty = tuple(CellType() for _ in code.co_freevars)
        yield FunctionType(code, frame.f_globals, closure=empty)
        variables = frame.f_locals
        yield from [*variables.values()]
        if isinstance(variables, dict) and code.co_flags & CO_OPTIMIZED:
            variables.clear()  # a copy, which Python up to 3.12 would keep with the frame
        frame = frame.f_back


def _waits_for_this_one(frame: FrameType) -> bool:
    """Returns whether a thread is in `Thread.join` of the thread that asks."""
    if frame.f_code is not threading.Thread.join.__code__:
        frame = frame.f_back or frame  # where `join` is not the innermost
    joins = frame.f_code is threading.Thread.join.__code__
    return joins and frame.f_locals["self"] is threading.current_thread()


def _stored_in(code: CodeType) -> Iterator[str]:
    """Yields the names that code sets, and the code of functions in it.

    The code is read as bytes, an operation and its argument each: `dis` takes a millisecond for a
    function, and a thread may reach thousands.
    """
    operations = code.co_code[::2]
    if not _STORES.keys().isdisjoint(operations):
        extended = 0
        for operation, argument in zip(operations, code.co_code[1::2], strict=True):
            if operation == EXTENDED_ARG:
                extended = (extended | argument) << 8
                continue
            if operation in _STORES:
                is_named = _STORES[operation]
                yield code.co_names[extended | argument] if is_named else "cell_contents"
            extended = 0
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _stored_in(constant)
