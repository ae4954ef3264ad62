"""One value that a user gave: what it may be, and what is said when it is not."""

import difflib
import operator
from collections.abc import Iterable
from typing import Any


def choice(name: str, given: Any, allowed: tuple[str, ...]) -> Any:
    if given not in allowed:
        raise ValueError(unknown(name, given, allowed))
    return given


def whole(name: str, given: Any, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """A whole number. Raises TypeError for anything else, ValueError outside the limits."""
    if isinstance(given, bool):
        raise TypeError(f"{name}={given!r}: give a whole number")
    try:
        number = operator.index(given)
    except TypeError:
        raise TypeError(f"{name}={given!r}: give a whole number") from None
    if at_least is not None and number < at_least:
        raise ValueError(f"{name}={number}: must be {at_least} or more")
    if at_most is not None and number > at_most:
        raise ValueError(f"{name}={number}: must be {at_most} or less")
    return number


def share(name: str, given: Any) -> float:
    """A share above 0 and up to 1. Raises TypeError for what is no number, ValueError outside."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{name}={given!r}: give a share, such as 0.005, or None for no limit")
    if not 0 < given <= 1:
        raise ValueError(f"{name}={given!r}: must be above 0 and at most 1; None is no limit")
    return float(given)


def wholes(name: str, given: Iterable[Any], *, at_least: int | None = None) -> tuple[int, ...]:
    numbers = tuple(dict.fromkeys(whole(name, item, at_least=at_least) for item in given))
    if not numbers:
        raise ValueError(f"{name}=[]: nothing is chosen; name at least one")
    return numbers


def unknown(name: str, given: Any, allowed: tuple[str, ...]) -> str:
    known = ", ".join(repr(option) for option in allowed)
    near = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{name}: unknown {given!r}; known are {known}.{hint}"
