"""Objects that raise at whatever is asked of them, as half-made and torn-down ones of users do."""

import weakref
from typing import Any


class HostileError(Exception):
    """An error that cannot be put into words."""

    def __str__(self) -> str:
        raise HostileError


def _raise(self: Any, *_: Any, **__: Any) -> Any:
    raise HostileError


class Hostile:
    """Raises from every method that Python calls by itself."""

    __slots__ = ()
    __class__ = property(_raise)  # type: ignore[assignment]


for _name in (
    "str", "repr", "format", "bytes", "bool", "eq", "ne", "lt", "gt", "le", "ge", "hash", "len",
    "iter", "next", "getitem", "contains", "call", "index", "int", "float", "add", "radd", "mul",
    "mod", "neg", "abs", "round", "enter", "exit", "getattr", "torch_function", "array", "fspath",
):  # fmt: skip
    setattr(Hostile, f"__{_name}__", _raise)


class Gone:
    """What a proxy leads to that leads nowhere any more."""


def hostile_values() -> dict[str, Any]:
    """Returns values that no parameter of a monitor takes, by what they are."""
    return {
        "hostile": Hostile(),
        "a dead proxy": weakref.proxy(Gone()),
        "a class": Hostile,
        "nothing": None,
        "text": "x",
        "a lone surrogate": "\ud800",
        "a large number": 10**400,
        "no number": float("nan"),
        "a list of itself": _list_of_itself(),
        "a dict of hostile ones": {"x": Hostile()},
        "a tuple of dead proxies": (weakref.proxy(Gone()),),
    }


def _list_of_itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found
