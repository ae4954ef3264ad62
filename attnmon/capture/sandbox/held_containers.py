"""Containers and attributes as they were, and how they are put back: in place, and exactly."""

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from functools import lru_cache
from operator import is_
from threading import get_ident
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from torch.utils.weak import WeakIdKeyDictionary

from attnmon.capture.model.plain_objects import is_opaque, package_of, slots_of

_ABSENT = object()


class Held(Protocol):
    """One object as it was before the forward."""

    def put_back(self) -> None:
        """Makes the object what it was; writes only if it differs."""


class HeldDict:
    """The items of a dict, with their order; or some of them."""

    def __init__(self, held: dict[Any, Any]) -> None:
        self._held = held
        self._kind: Any = OrderedDict if isinstance(held, OrderedDict) else dict
        self.items: list[tuple[Any, Any]] = list(self._kind.items(held))

    def put_back(self) -> None:
        held, before, kind = self._held, self.items, self._kind
        if len(held) == len(before) and (not before or _are_same(kind.items(held), before)):
            return
        kind.clear(held)
        for key, value in before:
            kind.__setitem__(held, key, value)


class HeldNames:
    """Some names of a namespace: the globals that a function uses, or a class's attributes."""

    def __init__(
        self,
        space: object,
        names: Iterable[str],
        read: Callable[[str], Any],
        write: Callable[[str, Any], None],
    ) -> None:
        """space: the globals, class, function or cell that `read` and `write` are of."""
        self._space = space
        self._before = [(name, read(name)) for name in names]
        self._read, self._write = read, write

    def put_back(self) -> None:
        for name, value in self._before:
            if self._read(name) is not value:
                self._write(name, value)

    def stop_iterators(self, stop: Callable[[str], None]) -> None:
        """Puts what ends the forward, when it is used, in the place of each iterator."""
        for name, value in self._before:
            if (stopped := stopping(value, stop)) is not value:
                self._write(name, stopped)

    def places(self) -> list[tuple[int, str]]:
        """Returns the id of the namespace with each of the names."""
        return [(id(self._space), name) for name, _ in self._before]

    def values(self) -> list[Any]:
        """Returns what these names refer to."""
        return [value for _, value in self._before]


class HeldSequence:
    """The items of a list, a deque, a bytearray or an array."""

    def __init__(self, held: Any) -> None:
        self._held = held
        self._kind: Any = next(kind for kind in SEQUENCES if isinstance(held, kind))
        self._before = list(self._kind.__iter__(held))

    def put_back(self) -> None:
        held, before = self._held, self._before
        now = list(self._kind.__iter__(held))
        if len(now) == len(before) and all(map(is_, now, before)):
            return
        if self._kind is deque:
            deque.clear(held)
            deque.extend(held, before)
        else:
            items = array(held.typecode, before) if self._kind is array else before
            self._kind.__setitem__(held, slice(None), items)


SEQUENCES: tuple[type[MutableSequence[Any]], ...] = (list, deque, bytearray, array)


class HeldSet:
    """The members of a set."""

    def __init__(self, held: set[Any]) -> None:
        self._held = held
        self._before = list(set.__iter__(held))

    def put_back(self) -> None:
        if set(map(id, self._held)) != set(map(id, self._before)):
            set.clear(self._held)
            set.update(self._held, self._before)


class HeldWeak:
    """The live items of a weak dictionary or set. Nothing in it dies before it is put back."""

    def __init__(self, held: Any) -> None:
        self._held = held
        self._before = _items(held)

    def put_back(self) -> None:
        held, before, now = self._held, self._before, _items(self._held)
        if len(now) == len(before) and _are_same(now, before):
            return
        held.clear()
        for key, value in before:
            held.add(key) if isinstance(held, WeakSet) else held.__setitem__(key, value)

    def values(self) -> list[Any]:
        """Returns the keys and the values."""
        return [part for item in self._before for part in item]


WEAK = (WeakKeyDictionary, WeakValueDictionary, WeakIdKeyDictionary, WeakSet)


def _are_same(now: Iterable[tuple[Any, Any]], before: list[tuple[Any, Any]]) -> bool:
    return all(
        key is key_before and value is value_before
        for (key, value), (key_before, value_before) in zip(now, before, strict=True)
    )


def _items(held: Any) -> list[tuple[Any, Any]]:
    return [(key, None) for key in held] if isinstance(held, WeakSet) else [*held.items()]


class HeldSlots:
    """The attributes of an object that has no dict."""

    def __init__(self, held: object) -> None:
        self._held = held
        self._before = [(slot, _get(slot, held)) for slot in slots_of(type(held)).values()]

    def put_back(self) -> None:
        for slot, value in self._before:
            if _get(slot, self._held) is not value:
                slot.__delete__(self._held) if value is _ABSENT else slot.__set__(self._held, value)

    def stop_iterators(self, stop: Callable[[str], None]) -> None:
        """Puts what ends the forward, when it is used, in the place of each iterator."""
        for slot, value in self._before:
            if (stopped := stopping(value, stop)) is not value:
                slot.__set__(self._held, stopped)

    def values(self) -> list[Any]:
        """Returns the values of the attributes that are there."""
        return [value for _, value in self._before if value is not _ABSENT]


class StoppedIterator:
    """Takes the place of an iterator, which cannot be put back once it has been advanced.

    For other threads, which are not to know of the forward, it is that iterator.
    """

    def __init__(self, held: Iterator[Any], stop: Callable[[str], None]) -> None:
        """stop: ends the forward; it raises."""
        self._held = held
        self._stop = stop
        self._thread = get_ident()

    def __iter__(self) -> "StoppedIterator":
        return self

    def __next__(self) -> Any:
        if get_ident() == self._thread:
            self._stop("would have advanced an iterator")
        return next(self._held)

    def __aiter__(self) -> "StoppedIterator":
        return self

    def __getattr__(self, name: str) -> Any:
        if get_ident() == self._thread:
            self._stop(f"would have used the attribute {name} of an iterator")
        return getattr(self._held, name)


def is_iterator(value: object) -> bool:
    """Returns whether this is a generator or an iterator, which cannot be put back.

    One of the user's own classes is an object like any other; a file is a resource.
    """
    kind: Any = type(value)
    return _iterates(kind)


@lru_cache(maxsize=1024)
def _iterates(kind: Any) -> bool:
    advances = hasattr(kind, "__next__") or hasattr(kind, "__anext__")
    return advances and is_opaque(kind) and package_of(kind) not in ("_io", "io")


def stopping(value: Any, stop: Callable[[str], None]) -> Any:
    """Returns what stands for an iterator, or for a tuple that holds one; all else as it is."""
    if is_iterator(value):
        return StoppedIterator(value, stop)
    if type(value) is not tuple:
        return value
    parts = tuple(stopping(part, stop) for part in value)
    return value if all(map(is_, parts, value)) else parts


def _get(slot: Any, held: object) -> Any:
    try:
        return slot.__get__(held)
    except AttributeError:
        return _ABSENT
