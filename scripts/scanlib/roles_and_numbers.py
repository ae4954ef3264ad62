"""Judges the roles and the numbers of all layers of a capture."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from scanlib.captures import Map
from scanlib.comparing import equal
from scanlib.returned_attentions import Returned


def misnumbered(maps: Iterable[Map]) -> Iterator[str]:
    """Layers of one list of modules have numbers in the list's order; of calls, the first."""
    patterns: dict[tuple[str, str], list[Map]] = {}
    first: dict[tuple[str, str], Map] = {}
    for each in sorted(maps, key=lambda each: each.layer):
        first.setdefault((each.role, each.module), each)
    for each in first.values():
        patterns.setdefault((each.role, re.sub(r"\d+", "*", each.module)), []).append(each)
    for (role, pattern), several in patterns.items():
        places = [tuple(map(int, re.findall(r"\d+", each.module))) for each in several]
        ordered = [
            each.layer
            for _, each in sorted(
                zip(places, several, strict=True), key=lambda p: (p[0], p[1].layer)
            )
        ]
        if ordered != sorted(ordered):
            yield f"{pattern}: the {role} layers of the list have the numbers {ordered}"


def wrong_roles(maps: Sequence[Map], returned: Returned) -> Iterator[str]:
    """The name under which the model itself returns a map says its role and its number."""
    for each in maps:
        named = [entry for entry in returned.by_role if equal(each.weights, entry[2])]
        by_name = each.role.endswith("cross") and _is_called_cross(each.module)
        if named and not by_name and not any(each.role in roles for roles, _, _ in named):
            yield f"{each.module}: it is called {each.role}, and the model says {named[0][0]}"
    calls = Counter((each.role, each.module) for each in maps)
    for role in {role for role, _ in calls if _are_called_once(role, calls)}:
        pairs = sorted(
            (index, each.layer)
            for roles, index, weights in returned.by_role
            for each in maps
            if each.role == role and role in roles and equal(each.weights, weights)
        )
        unique = len({index for index, _ in pairs}) == len(pairs)
        if unique and [layer for _, layer in pairs] != sorted(layer for _, layer in pairs):
            yield f"the model's layers {[i for i, _ in pairs]} are called {[n for _, n in pairs]}"


def _are_called_once(role: str, calls: Counter[tuple[str, str]]) -> bool:
    """Whether no module of this role has several calls, whose order is not that of modules."""
    return all(count == 1 for (other, _), count in calls.items() if other == role)


CROSS = re.compile(r"cross|encoder_attn|encdec|enc_dec", re.IGNORECASE)


def doubtful_roles(maps: Iterable[Map]) -> Iterator[str]:
    """A module's own name is a hint."""
    for each in maps:
        if _is_called_cross(each.module) != each.role.endswith("cross"):
            yield f"{each.module} is called {each.role}"


def _is_called_cross(module: str) -> bool:
    return bool(CROSS.search(".".join(module.split(".")[-3:])))
