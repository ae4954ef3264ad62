"""Checks of single values that a user gave: each returns the checked form, or raises.

A check takes the option's name and the value given. All raise `TypeError` for a value of the wrong
kind and `ValueError` for one that is not allowed, and say what was given and what is allowed.
"""

import difflib
import operator
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from attnmon.config.coordinates import Coordinates, coordinates_of
from attnmon.link.bucket_url import check_bucket_url
from attnmon.link.ring import SLOT_BYTES
from attnmon.options import ROLES, VISUALIZATION_TYPES

Check = Callable[[str, Any], Any]


# Kinds of values


def choice(name: str, given: Any, allowed: tuple[str | None, ...]) -> str:
    if given not in allowed:
        raise ValueError(_unknown(name, given, allowed))
    known: str = given
    return known


def choice_of(literal: Any) -> Check:
    """Return a check that allows the values of a `Literal`."""
    return partial(choice, allowed=get_args(literal))


def choice_or_none(literal: Any) -> Check:
    """Return a check that allows the values of a `Literal`, and None."""
    return partial(choice, allowed=(*get_args(literal), None))


def optional(check: Check) -> Check:
    """Return a check that also allows None, which stays None."""
    return lambda name, given: None if given is None else check(name, given)


def switch(name: str, given: Any) -> bool:
    return bool(given)


def anything(name: str, given: Any) -> Any:
    return given


def whole_number(
    name: str, given: Any, *, at_least: int | None = None, at_most: int | None = None
) -> int:
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


def whole_numbers(
    name: str, given: Iterable[Any], *, at_least: int | None = None
) -> tuple[int, ...]:
    """Return the numbers, each once. At least one must be given."""
    numbers = tuple(dict.fromkeys(whole_number(name, item, at_least=at_least) for item in given))
    if not numbers:
        raise ValueError(f"{name}=[]: nothing is chosen; name at least one")
    return numbers


def access_mode(name: str, given: Any) -> int:
    """Return the mode of folders: all rights for their owner, and none to write for everybody."""
    if isinstance(given, str):
        raise TypeError(f"{name}={given!r}: give a number, such as 0o750")
    mode = whole_number(name, given)
    if mode & 0o700 != 0o700 or mode & ~0o2775:
        raise ValueError(
            f"{name}={mode:#o}: give the owner all rights, and do not let everybody write; such as "
            "0o750, in octal, for the group to read, or 0o2770 for a folder that a group shares"
        )
    return mode


def fraction(name: str, given: Any) -> float:
    """Return a number above 0 and at most 1."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{name}={given!r}: give a share, such as 0.005, or None for no limit")
    if not 0 < given <= 1:
        raise ValueError(f"{name}={given!r}: must be above 0 and at most 1; None is no limit")
    return float(given)


def seconds(name: str, given: Any) -> float:
    if not isinstance(given, int | float) or not given >= 0:
        raise ValueError(f"{name}={given!r}: give seconds, 0 or more")
    return float(given)


def function(name: str, given: Any) -> Any:
    if not callable(given):
        raise TypeError(f"{name}={given!r}: give a function of (model, enc, dec)")
    return given


def callback(name: str, given: Any) -> Any:
    if not callable(given):
        raise TypeError(f"{name}={given!r:.80}: give a function of one argument")
    return given


def tokenizer_in(given: Any) -> Any:
    """Return the tokenizer that this is or has; None for what makes no tokens of ids."""
    for each in (given, getattr(given, "tokenizer", None)):
        if callable(getattr(each, "convert_ids_to_tokens", None)):
            return each
    return None


def tokenizer(name: str, given: Any) -> Any:
    """Return a tokenizer, a processor's, or a function of the batch."""
    if (found := tokenizer_in(given)) is not None:
        return found
    if not callable(given) or isinstance(given, type):
        raise TypeError(
            f"{name}={given!r:.80}: give a tokenizer that has convert_ids_to_tokens, or a function "
            "of the batch that returns a list of tokens, or a pair for encoder and decoder"
        )
    return given


def absolute_path(name: str, given: Any) -> Path:
    """Return an absolute path, since a script may change its own directory later."""
    try:
        return Path(given).expanduser().absolute()
    except TypeError:
        raise TypeError(f"{name}={given!r:.80}: give a path, as text or a Path") from None


_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{infix}B": base**power
    for infix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("KMGT", start=1)
}


def byte_count(name: str, given: Any) -> int:
    """Return bytes, 1 or more, from a number or from text such as "500 MB"."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise TypeError(f"{name}={given!r}: give bytes as a whole number, or text such as '2 GB'")
    number, unit = _number_and_unit(name, str(given))
    nbytes = int(number * _UNITS[unit])
    if nbytes < 1:
        raise ValueError(f"{name}={given!r}: must be 1 byte or more")
    return nbytes


def _number_and_unit(name: str, text: str) -> tuple[float, str]:
    found = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = found[2].upper().replace("I", "i") if found else "?"
    if found is None or unit not in _UNITS:
        units = ", ".join(filter(None, _UNITS))
        raise ValueError(f"{name}={text!r}: give a number and one of {units}, such as '500 MB'")
    return float(found[1]), unit


# Values of one option each


def visualization_types(name: str, given: Iterable[str]) -> tuple[str, ...]:
    if isinstance(given, str):
        raise TypeError(f"{name}={given!r}: give a list, such as [{given!r}]")
    return tuple(dict.fromkeys(choice(name, kind, VISUALIZATION_TYPES) for kind in given))


def epochs(name: str, given: Iterable[int] | int | None) -> frozenset[int]:
    several = () if given is None else _several(given)
    return frozenset(whole_number(name, epoch, at_least=0) for epoch in several)


def layers(name: str, given: Any) -> tuple[int | str, ...] | None:
    """Return indices and patterns of module names, each once; None is all layers."""
    if given is None or given == "all":
        return None
    several = [given] if isinstance(given, str) else _several(given)
    chosen = tuple(dict.fromkeys(_layer(name, item) for item in several))
    if not chosen:
        raise ValueError(f"{name}=[]: nothing is chosen; name at least one, or 'all'")
    return chosen


def _layer(name: str, given: Any) -> int | str:
    return given if isinstance(given, str) and given else whole_number(name, given)


def word_or_indices(name: str, given: Any, words: tuple[str, ...]) -> str | tuple[int, ...]:
    """Return one of the words, or indices of 0 or more, each once."""
    if isinstance(given, str):
        return choice(name, given, words)
    return whole_numbers(name, _several(given), at_least=0)


def roles(name: str, given: Any) -> dict[str, str]:
    return {str(module): choice(name, role, ROLES) for module, role in dict(given or {}).items()}


def query_limit(name: str, given: Any) -> int | None:
    """Return a number of queries; None, for "all", is no limit."""
    return None if given == "all" else whole_number(name, given, at_least=1)


def grid(name: str, given: Any) -> tuple[int, int]:
    """Return (rows, columns), both 1 or more."""
    sides = given if isinstance(given, tuple | list) else ()
    if len(sides) != 2:
        raise TypeError(f"{name}={given!r}: give (rows, columns), such as (14, 14)")
    rows, columns = (whole_number(name, side, at_least=1) for side in sides)
    return rows, columns


def ring_bytes(name: str, given: Any) -> int:
    return whole_number(name, byte_count(name, given), at_least=SLOT_BYTES)


def renderer(name: str, given: Any) -> str:
    """Return "own", "attach", or the absolute path of a socket.

    The environment variable ATTNMON_RENDERER replaces what was given.
    """
    chosen = os.environ.get("ATTNMON_RENDERER") or given
    if os.sep in str(chosen):
        return str(Path(chosen).expanduser().absolute())
    source = name if chosen is given else "ATTNMON_RENDERER"
    return choice(source, chosen, ("own", "attach", "/path/of/its/socket"))


def coordinates(name: str, given: Any) -> Coordinates:
    """Return coordinates from a mapping or a DeviceMesh."""
    try:
        return coordinates_of(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def mirror_url(name: str, given: Any) -> str:
    """Return the URL of a bucket, or of what fsspec opens, whose library is installed."""
    if not isinstance(given, str):
        raise TypeError(f"{name}={given!r:.80}: give a URL, such as 's3://bucket/prefix'")
    try:
        return check_bucket_url(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def processors(name: str, given: Any) -> tuple[int, ...]:
    """Return the numbers of processors that this machine has; () is all of them."""
    if given is None:
        return ()
    if isinstance(given, str):
        raise TypeError(f"{name}={given!r}: give a list, such as [0, 1]")
    chosen = whole_numbers(name, _several(given), at_least=0)
    count = os.cpu_count() or 1
    if max(chosen) >= count:
        raise ValueError(f"{name}={list(chosen)}: there are only the processors 0 … {count - 1}")
    return chosen


def _several(given: Any) -> Iterable[Any]:
    return given if isinstance(given, Iterable) else (given,)


def _unknown(name: str, given: Any, allowed: tuple[str | None, ...]) -> str:
    known = ", ".join(repr(option) for option in allowed)
    near = difflib.get_close_matches(str(given), filter(None, allowed), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{name}: unknown {given!r}; known are {known}.{hint}"
