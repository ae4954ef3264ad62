"""Parses JSON that anybody may have written, and checks it by tables of what each field may be."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

LARGEST_NUMBER = 1e150
"""With numbers below it no sum, and no quotient of two, overflows."""
LARGEST_INTEGER = 1 << 63
LATEST_MOMENT = 250_000_000_000.0
"""Seconds from 1970 to a year of four digits."""

Check = Callable[[Any], Any]
"""Returns a value as it may be used. Raises `Misfit`."""


class Misfit(ValueError):
    """A value is not what its field holds; says what it holds."""


def parse(text: bytes | str) -> Any:
    """Return what JSON says; NaN and infinity are None. Raises ValueError for all that is none."""
    try:
        return json.loads(text, parse_constant=lambda name: None, parse_int=_parse_integer)
    except RecursionError:
        raise ValueError("nested deeper than any JSON of a run") from None


def _parse_integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 25 else math.inf  # which no check lets pass


def text(value: Any) -> str:
    """Let text pass, without what cannot be encoded."""
    if not isinstance(value, str):
        raise Misfit("text")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def whole(value: Any) -> int:
    """Let an integer of 64 bits pass."""
    if type(value) is not int or abs(value) >= LARGEST_INTEGER:
        raise Misfit("a whole number")
    return value


def count(value: Any) -> int:
    """Let a whole number from 0 on pass."""
    if whole(value) < 0:
        raise Misfit("a number from 0 on")
    return int(value)


def truth(value: Any) -> bool:
    """Let true and false pass."""
    if type(value) is not bool:
        raise Misfit("true or false")
    return value


def number(value: Any) -> float:
    """Let a number pass, as a whole number if it is one."""
    if type(value) not in (int, float) or not abs(value) < LARGEST_NUMBER:
        raise Misfit("a number")
    return value  # type: ignore[no-any-return]


def moment(value: Any) -> float:
    """Let seconds since 1970 pass."""
    if not 0 <= number(value) < LATEST_MOMENT:
        raise Misfit("a time in seconds")
    return number(value)


def maybe(check: Check) -> Check:
    """Return a check that lets null pass, too."""
    return lambda value: None if value is None else check(value)


def one_of(*allowed: str) -> Check:
    """Return a check that lets these words pass."""

    def check(value: Any) -> str:
        if text(value) not in allowed:
            raise Misfit(f"one of {allowed}")
        return text(value)

    return check


def listed(check: Check, most: int = 100_000) -> Check:
    """Return a check of lists of at most so many items."""

    def check_all(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise Misfit("a list")
        return [check(item) for item in value]

    return check_all


def named(check: Check) -> Check:
    """Return a check of objects whose values are all of one kind."""

    def check_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit("an object")
        return {text(name): check(item) for name, item in value.items()}

    return check_all


def scalar(value: Any) -> Any:
    """Let text, a number, true, false or null pass."""
    if value is None or isinstance(value, bool):
        return value
    return text(value) if isinstance(value, str) else number(value)


def scalars(value: Any) -> Any:
    """Let a scalar pass, or a list of them."""
    return listed(scalar)(value) if isinstance(value, list) else scalar(value)


def record(required: Mapping[str, Check], optional: Mapping[str, Check]) -> Check:
    """Return a check of objects with these fields. Null stands for an optional one that is not.

    Other fields are left out.
    """
    every = {**required, **{name: maybe(check) for name, check in optional.items()}}

    def check_all(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit("an object")
        if absent := required.keys() - value.keys():
            raise Misfit(f"an object with {min(absent)!r}")
        return {name: check(value[name]) for name, check in every.items() if name in value}

    return check_all
