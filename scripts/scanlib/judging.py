"""Judges what was captured of a model by the oracles, layer by layer."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from scanlib.captures import Capture
from scanlib.comparing import is_of, mistake
from scanlib.roles_and_numbers import doubtful_roles, misnumbered, wrong_roles
from scanlib.softmaxes import Softmax
from scanlib.truth import Truth


@dataclass
class Verdict:
    """What is to be said of one capture of a model."""

    word: str
    """right, wrong, refused, not seen, unjudged, or nothing to see."""
    why: str = ""
    right: int = 0
    noted: int = 0
    """Those of the right maps with a note that says what they are."""
    layers: int = 0
    """Layers with token attention, by the oracle."""
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """What may be wrong and cannot be decided by an oracle."""


def verdict(capture: Capture, oracles: Truth) -> Verdict:
    """Compares each map with the oracles, and what they know with what was seen."""
    found = Verdict("", layers=len(oracles.attending))
    for each in sorted(capture.maps, key=lambda each: each.layer):
        reason = mistake(each, oracles)
        label = f"{each.module or '(the model)'}, {each.role} {each.layer}"
        if reason == "":
            found.right, found.noted = found.right + 1, found.noted + bool(each.note)
        elif reason.startswith("unjudged"):
            found.doubts.append(f"{label}: {reason}")
        else:
            found.wrong.append(
                f"{label}: {reason}" + (f" [note: {each.note}]" if each.note else "")
            )
    found.wrong += misnumbered(capture.maps)
    found.wrong += wrong_roles(capture.maps, oracles.returned)
    found.doubts += doubtful_roles(capture.maps)
    for softmax, count in _without_maps(capture, oracles):
        reasons = [why for name, why in capture.refused.items() if is_of(softmax, name)]
        label = f"{softmax.module or '(the model)'}{count}"
        if reasons:
            found.refused.append(f"{label}: {reasons[0]}")
        else:
            found.unseen.append(label)
    found.word, found.why = _word(found, capture)
    return found


def _word(found: Verdict, capture: Capture) -> tuple[str, str]:
    if found.wrong:
        return "wrong", found.wrong[0]
    if found.unseen:
        return "not seen", found.unseen[0]
    if found.refused and found.layers:
        return "refused", found.refused[0]
    if found.doubts and not found.right:
        return "unjudged", found.doubts[0]
    return ("right", "") if found.right else ("nothing to see", "")


def _without_maps(capture: Capture, oracles: Truth) -> Iterator[tuple[Softmax, str]]:
    """Yields a softmax of each module with token attention that has no map, or fewer than calls."""
    wanted = Counter(each.module for each in oracles.attending)
    first = {each.module: each for each in reversed(oracles.attending)}
    for name, count in wanted.items():
        places = first[name].modules
        maps = sum(1 for each in capture.maps if any(_inside(each.module, p) for p in places))
        if maps < count:
            yield first[name], f", {maps} of {count}" if maps else ""


def _inside(one: str, other: str) -> bool:
    return (
        one == other or one.startswith(f"{other}.") or (other.startswith(f"{one}.") and one != "")
    )
