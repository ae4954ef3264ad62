"""Converts frozen records to msgpack and back, by a closed schema: the records' own fields.

A record is written as ``[version, kind, field, field, …]``. On receipt every field's type is
checked against its annotation, and the record's own ``__post_init__`` checks the ranges.
"""

import types
import typing
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

import msgpack

M = TypeVar("M")

LIMIT = 1 << 20
"""The most bytes of one message. Arrays travel in slots; a message only names them, some 130 bytes
for each layer."""
MOST_KEPT = 8
"""Captures that wait lie elsewhere in the ring, and have other records."""


class MessageError(ValueError):
    """A message does not follow the schema. It is refused as a whole."""


def require(holds: bool, what: str, given: object) -> None:
    """Raise `MessageError` unless a condition holds, naming what is wrong and what was given."""
    if not holds:
        raise MessageError(f"{what}: not allowed: {_shown(given)}")


def _shown(given: object) -> str:
    try:
        return f"{given!r:.200}"
    except RecursionError:
        return "something nested deeper than Python can show"


class Schema(Generic[M]):
    """The record types that one side may send to the other, and their encoding."""

    def __init__(self, version: int, kinds: tuple[type[Any], ...], kept: str = "") -> None:
        """`kept`: name of a field with a tuple of records that are sent again and again."""
        self.version = version
        self._kinds = kinds
        self._kept_at = {
            kind: place
            for kind in kinds
            for place, field in enumerate(fields(kind))
            if field.name == kept
        }
        self._kept: dict[tuple[int, ...], tuple[tuple[Any, ...], bytes]] = {}
        """Such tuples and their bytes, by the records' ids."""
        self._read: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        """Such tuples that were received, by what msgpack read of them."""

    def encode(self, message: M) -> bytes:
        """Return a message in bytes. Raises `MessageError` when they are more than `LIMIT`."""
        kind, values = type(message), _values(message)
        place = self._kept_at.get(kind, len(values))
        packer = msgpack.Packer(default=_values, unicode_errors=_ANY_TEXT)
        head = (self.version, self._kinds.index(kind), *values[:place])
        packed: bytes = packer.pack_array_header(2 + len(values)) + _items(packer, head)
        if place < len(values):
            packed += self._packed_once(values[place]) + _items(packer, values[place + 1 :])
        if len(packed) > LIMIT:
            raise MessageError(f"a message of {len(packed)} bytes; {LIMIT} is the most there is")
        return packed

    def _packed_once(self, records: tuple[Any, ...]) -> bytes:
        """Return the records in bytes: those of last time where they are the very same."""
        key = tuple(map(id, records))
        found = self._kept.get(key)
        if found is None:
            packed = msgpack.packb(records, default=_values, unicode_errors=_ANY_TEXT)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[key] = records, packed  # which holds them: no id is used again
        return found[1]

    def decode(self, packed: bytes) -> M:
        """Return the message in these bytes.

        Raises `MessageError` for everything that the schema does not allow.
        """
        require(len(packed) <= LIMIT, "length", len(packed))
        try:
            unpacked = msgpack.unpackb(
                packed, use_list=False, unicode_errors=_ANY_TEXT, **_NOTHING_ELSE
            )
        except Exception as error:  # msgpack raises half a dozen unrelated types for bad input
            raise MessageError(f"not msgpack: {error}") from error
        require(isinstance(unpacked, tuple) and len(unpacked) >= 2, "message", unpacked)
        version, kind, *values = unpacked
        require(version == self.version, f"version (this side speaks {self.version})", version)
        require(type(kind) is int and 0 <= kind < len(self._kinds), "kind", kind)
        record_type = self._kinds[kind]
        readers, place = _readers_of(record_type), self._kept_at.get(record_type)
        require(len(values) == len(readers), record_type.__name__, values)
        message: M = record_type(
            *(
                self._read_once(read, value) if at == place else read(value)
                for at, (read, value) in enumerate(zip(readers, values, strict=True))
            )
        )
        return message

    def _read_once(self, read: Callable[[Any], Any], value: Any) -> Any:
        """Return the records that are read of this: those of last time where it is the same."""
        try:
            found = self._read.get(value)
        except TypeError:  # an empty map of msgpack, which no record has
            return read(value)
        if found is None:
            found = read(value)
            if len(self._read) >= MOST_KEPT:
                self._read.clear()
            self._read[value] = found
        return found


def _items(packer: Any, values: tuple[Any, ...]) -> bytes:
    """Return the bytes of some values as they stand in a list: without its header."""
    packed: bytes = packer.pack(values)
    return packed[1 if len(values) < 16 else 3 :]


_ANY_TEXT = "surrogatepass"  # paths that are no UTF-8 are lone surrogates in Python's strings
_NOTHING_ELSE = {"max_bin_len": 0, "max_ext_len": 0, "max_map_len": 0}


_getters: dict[type[Any], Callable[[Any], tuple[Any, ...]]] = {}
_readers: dict[type[Any], tuple[Callable[[Any], Any], ...]] = {}


def _values(record: Any) -> tuple[Any, ...]:
    getter = _getters.get(type(record))
    if getter is None:
        getter = _getters[type(record)] = _make_getter(type(record))
    return getter(record)


def _make_getter(record_type: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    names = [field.name for field in fields(record_type)]
    getter = attrgetter(*names)
    return getter if len(names) > 1 else lambda record: (getter(record),)


def _readers_of(record_type: type[Any]) -> tuple[Callable[[Any], Any], ...]:
    if record_type not in _readers:
        hints = typing.get_type_hints(record_type)
        _readers[record_type] = tuple(_reader(hints[f.name]) for f in fields(record_type))
    return _readers[record_type]


def _read_record(record_type: type[Any], values: Any) -> Any:
    readers = _readers_of(record_type)
    require(isinstance(values, tuple) and len(values) == len(readers), record_type.__name__, values)
    return record_type(*(read(value) for read, value in zip(readers, values, strict=True)))


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return a function that converts what msgpack read to the type `hint`, or refuses it."""
    origin = typing.get_origin(hint)
    if is_dataclass(hint):
        return lambda value: _read_record(typing.cast("type[Any]", hint), value)
    if origin is Literal:
        return _one_of(typing.get_args(hint))
    if origin is tuple:
        return _tuple_reader(typing.get_args(hint))
    if origin in (types.UnionType, typing.Union):
        return _first_of([_reader(option) for option in typing.get_args(hint)])
    return _instance_of(float if hint is float else hint)


def _instance_of(wanted: type[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        require(type(value) is wanted, wanted.__name__, value)
        return value

    return read


def _one_of(allowed: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        require(value in allowed, f"one of {allowed}", value)
        return value

    return read


def _tuple_reader(items: tuple[Any, ...]) -> Callable[[Any], Any]:
    if items[-1] is Ellipsis:
        read_item = _reader(items[0])

        def read_many(value: Any) -> Any:
            require(isinstance(value, tuple), "a list", value)
            return tuple(read_item(item) for item in value)

        return read_many
    readers = [_reader(item) for item in items]

    def read_fixed(value: Any) -> Any:
        require(isinstance(value, tuple) and len(value) == len(readers), "a list", value)
        return tuple(read(item) for read, item in zip(readers, value, strict=True))

    return read_fixed


def _first_of(readers: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        for reader in readers[:-1]:
            try:
                return reader(value)
            except MessageError:
                continue
        return readers[-1](value)

    return read
