"""Judges whether captures of different runs can be compared, and what of them can."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnmon_renderer.compare.series.run_series import LayerName

SAME, DIFFERENT, UNKNOWN = "same", "different", "unknown"
"""What can be known of the text that captures show."""

Rows = dict[LayerName, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """What a capture says of what it shows."""

    name: str
    """The run's, as it is spoken of: "A"."""
    rows: Rows
    metadata: dict[str, Any]
    probe: str | None
    """Fingerprint of the batch that was given to be looked at; "" if none was, None if unknown."""
    tokens: Any = None
    """The sample's tokens, where they are known."""


@dataclass(slots=True)
class Comparability:
    """Whether captures can be compared."""

    why: list[str] = field(default_factory=list)
    """What cannot be compared, or only with care: a sentence each."""
    obstacles: list[str] = field(default_factory=list)
    """Sentences of `why` for each of which the captures as a whole cannot be compared."""
    text: str = UNKNOWN
    layers: list[LayerName] = field(default_factory=list)
    """Those that all have, with the same heads and positions."""

    @property
    def comparable(self) -> bool:
        return not self.obstacles

    @property
    def parts(self) -> dict[str, bool]:
        """What can be compared, and what cannot."""
        well = self.comparable
        return {
            "settings": True, "curves": True, "statistics": well, "maps": well and self.text == SAME
        }  # fmt: skip

    def hinder(self, reason: str) -> None:
        """Tell a reason for which nothing of the captures can be compared."""
        self.obstacles.append(reason)
        self.why.append(reason)


def probe_of(description: Mapping[str, Any], step: int) -> str | None:
    """Return the fingerprint of the probe batch that a run had at a step, which was resumed or not.

    "" if there was none, None if it is not known.
    """
    resumed = [each for each in description.get("resumed", ()) if (each.get("step") or 0) <= step]
    probe = [description, *resumed][-1].get("probe", "")
    return "" if probe is None else str(probe) or None


def judge(captures: Sequence[CaptureInfo], are_identical: bool = False) -> Comparability:
    """Compare what captures of different runs say they show.

    Args:
        are_identical: All their numbers are the same, which they would not be of other texts.
    """
    found = Comparability()
    found.layers = _common_layers(captures, found)
    found.text = _text(captures, found)
    _require_one(captures, _seen_in, "was seen in", found)
    if found.text == UNKNOWN and are_identical:
        found.text = SAME
    if found.text == UNKNOWN:
        found.why.append(
            "maps are not compared, as it is not known whether they show the same text: give the "
            "monitors the same probe= (or tokens=). Numbers may differ for their texts alone"
        )
    return found


def _common_layers(captures: Sequence[CaptureInfo], found: Comparability) -> list[LayerName]:
    every = dict.fromkeys(layer for capture in captures for layer in capture.rows)
    common = [layer for layer in every if all(layer in capture.rows for capture in captures)]
    if lacking := [str(layer) for layer in every if layer not in common]:
        found.why.append(f"not in all: {_listed(lacking)}")
    alike = [layer for layer in common if _heads_agree(layer, captures, found)]
    if not alike:
        found.hinder("there is no layer of the same role, number and heads in all")
    return alike


def _heads_agree(layer: LayerName, captures: Sequence[CaptureInfo], found: Comparability) -> bool:
    heads = [(capture.rows[layer].get("shape") or [0])[0] for capture in captures]
    numbers = [tuple(capture.rows[layer].get("head_indices") or ()) for capture in captures]
    if len(set(heads)) > 1 or len(set(numbers)) > 1:
        found.why.append(f"{layer} has other heads: {_each(captures, heads)}")
        return False
    for field_name, word in (("note", "notes"), ("queries_used", "queries")):
        values = [capture.rows[layer].get(field_name) for capture in captures]
        if len(set(map(str, values))) > 1:
            found.why.append(f"{layer} has other {word}: {_each(captures, values)}")
    return True


def _text(captures: Sequence[CaptureInfo], found: Comparability) -> str:
    """Return what is known of the captures' texts; says so where they differ."""
    before = len(found.obstacles)
    _require_one(captures, _positions(found.layers), "has queries × keys", found)
    tokens = [capture.tokens for capture in captures]
    if None not in tokens:
        if any(each != tokens[0] for each in tokens):
            found.hinder("the texts differ: their tokens are not the same")
        return DIFFERENT if len(found.obstacles) > before else SAME
    _require_one(captures, lambda capture: capture.metadata.get("sample"), "shows sample", found)
    probes = [capture.probe for capture in captures]
    if None not in probes and len(set(probes)) > 1:
        found.hinder("the texts differ: not all were given the same probe=")
    if len(found.obstacles) > before:
        return DIFFERENT
    return SAME if all(probes) and all(map(_shows_probe, captures)) else UNKNOWN


def _require_one(
    captures: Sequence[CaptureInfo],
    value_of: Callable[[CaptureInfo], Any],
    words: str,
    found: Comparability,
) -> None:
    values = [value_of(capture) for capture in captures]
    if len(set(map(str, values))) > 1:
        told = ", ".join(
            f"{capture.name} {words} {value}"
            for capture, value in zip(captures, values, strict=True)
        )
        found.hinder(told)


def _positions(layers: Sequence[LayerName]) -> Callable[[CaptureInfo], Any]:
    def of(capture: CaptureInfo) -> str:
        shapes = (capture.rows[layer].get("shape") or () for layer in layers)
        return _listed(sorted({" × ".join(map(str, shape[1:])) for shape in shapes}))

    return of


def _shows_probe(capture: CaptureInfo) -> bool:
    """Return whether it is of an extra forward: a probe that was refused is not what it shows."""
    return capture.metadata.get("seen_in") == "probe"


def _seen_in(capture: CaptureInfo) -> str:
    seen = str(capture.metadata.get("seen_in", ""))
    return {"probe": "an extra forward", "forward": "the training's own forward"}.get(seen, seen)


def _each(captures: Sequence[CaptureInfo], values: Sequence[Any]) -> str:
    pairs = zip(captures, values, strict=True)
    return ", ".join(f"{capture.name}: {value or 'none'}" for capture, value in pairs)


def _listed(words: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + rest
