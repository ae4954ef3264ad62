"""Prepares what a user configured, and the command line, for `run.json`: as JSON, without secrets.

Nothing here fails for what it is given, but for what is no configuration at all: a value that
cannot be shown is named by its type, and of a configuration that cannot be read its error is told.
"""

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

LONGEST_CONFIG = 1 << 16
"""Characters of JSON; longer ones are left out as a whole."""
LONGEST_VALUE = 500
"""Characters of one value."""
MOST_VALUES = 1000
"""Values in one list or mapping."""
DEEPEST = 8
"""Mappings and lists inside each other."""

HIDDEN = "(left out)"
"""What stands in the place of a secret."""
_SECRET_WORDS = {"secret", "secrets", "password", "passwd", "pwd", "token", "apikey"}
_SECRET_WORDS |= {"notify", "webhook", "credential", "credentials", "auth", "authorization"}
_KEY_OF = {"api", "access", "private", "secret", "account", "storage", "ssh", "encryption"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET_VALUE = re.compile(
    r"\b(hf_|sk-|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|AIza)[\w-]{8,}|(?<=://)[^/\s@]+(?=@)"
)


def config_json(name: str, given: Any) -> str:
    """Return a user's configuration as JSON; "" for None.

    It may be a mapping, a dataclass, a namespace such as that of argparse, or anything with a
    `to_dict()`. Raises TypeError for anything else.
    """
    if given is None:
        return ""
    try:
        mapping = _as_mapping(given)
        shown = json.dumps(_shown(mapping, 0))
    except Exception as error:  # of the user's own classes
        why = f"{type(error).__name__}: {_described(error)}"
        return json.dumps({HIDDEN: f"it cannot be read: {why}"})
    if mapping is None:
        raise TypeError(
            f"{name}={_represented(given)}: give a mapping, a dataclass, a namespace such as "
            "argparse's, or an object with to_dict()"
        )
    if len(shown) > LONGEST_CONFIG:
        return json.dumps({HIDDEN: f"longer than {LONGEST_CONFIG:,} characters"})
    return shown


def command_without_secrets(arguments: Iterable[str]) -> tuple[str, ...]:
    """Return a command line in which the values of secret options are left out."""
    shown: list[str] = []
    is_value_of_secret = False
    for argument in arguments:
        option, equals, value = argument.partition("=")
        is_secret = _is_secret(option)
        if is_value_of_secret and not argument.startswith("-"):
            shown.append(HIDDEN)
        elif equals:
            shown.append(f"{option}={HIDDEN if is_secret else _without_secrets(value)}")
        else:
            shown.append(_without_secrets(argument))
        is_value_of_secret = is_secret and not equals and argument.startswith("-")
    return tuple(argument[:LONGEST_VALUE] for argument in shown[:MOST_VALUES])


def _as_mapping(given: Any) -> Mapping[Any, Any] | None:
    """Return what a configuration holds; None if it is none."""
    if isinstance(given, Mapping):
        return given
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    to_dict = None if isinstance(given, type) else getattr(given, "to_dict", None)
    found = to_dict() if callable(to_dict) else getattr(given, "__dict__", None)
    if not isinstance(found, Mapping) or isinstance(given, type) or callable(given):
        return None
    return found


def _shown(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value if value is None or abs(value) < 1 << 63 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _without_secrets(value[:LONGEST_VALUE])
    if depth < DEEPEST and isinstance(value, Mapping):
        items = [(str(key), value[key]) for key in list(value)[:MOST_VALUES]]
        return {key: _shown_item(key, of_key, depth + 1) for key, of_key in items}
    if depth < DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_shown(item, depth + 1) for item in list(value)[:MOST_VALUES]]
    return _described(value)


def _shown_item(name: str, value: Any, depth: int) -> Any:
    is_number = value is None or isinstance(value, bool | int | float)  # of tokens, and the like
    return HIDDEN if not is_number and _is_secret(name) else _shown(value, depth)


def _represented(value: Any) -> str:
    try:
        return f"{value!r:.100}"
    except Exception:  # its own `__repr__` fails
        return type(value).__qualname__


def _described(value: Any) -> str:
    try:
        return _without_secrets(str(value)[:LONGEST_VALUE])
    except Exception:  # its own `__str__` fails
        return type(value).__qualname__


def _is_secret(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(_SECRET_WORDS & set(words)) or any(
        first in _KEY_OF and second in ("key", "keys") for first, second in pairwise(words)
    )


def _without_secrets(text: str) -> str:
    return _SECRET_VALUE.sub(HIDDEN, text)
