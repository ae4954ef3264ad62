"""A capture as rules see it: a line of the history with types, and nothing of files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnmon_renderer.storage import paths
from attnmon_renderer.storage.records import recorded_layers

Place = tuple[str, int]
"""A layer's role, such as "decoder_self", and its number."""
Values = tuple[float | None, ...]
"""One for each head; None where it is no number, or not known."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer of one capture."""

    role: str
    layer: int
    heads: tuple[int, ...]
    """The heads captured, in the model's numbering."""
    entropy: Values
    coverage: Values
    first_token: Values
    max_logit: Values
    top_logit: float | None
    """The largest logit of all heads; None where none is known."""
    padding_mass: Values
    keys: int
    non_finite: int
    ahead: int | None
    sees_all: bool
    predicts: bool
    future_mass: float | None
    scale: float | None
    width: int | None
    normed: bool
    softcap: float

    @property
    def place(self) -> Place:
        """Its role and number, which no other layer has."""
        return self.role, self.layer

    def heads_where(self, chosen: list[bool]) -> tuple[int, ...]:
        """Return the numbers of some heads, by whether each is chosen."""
        numbers = self.heads or tuple(range(len(chosen)))
        return tuple(head for head, is_it in zip(numbers, chosen, strict=False) if is_it)


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One capture."""

    step: int
    timestamp: float
    loss: float | None
    loss_is_no_number: bool
    """Whether a loss was given that is NaN or infinite."""
    grad_norm: float | None
    is_kept: bool
    """Whether it was retained, and drawn later: it is out of the order of the steps."""
    layers: Mapping[Place, LayerRecord]


def record_of(capture: Mapping[str, Any]) -> CaptureRecord:
    """Return the record of a line of a history, as `read_capture` or `document` gives it."""
    metadata = capture["metadata"]
    layers = [_layer(stack, row) for stack, row in recorded_layers(capture)]
    return CaptureRecord(
        step=metadata["step"],
        timestamp=metadata.get("timestamp") or 0.0,
        loss=_finite(metadata.get("loss")),
        loss_is_no_number=bool(metadata.get("loss_is_no_number")),
        grad_norm=_finite(metadata.get("grad_norm")),
        is_kept=bool(metadata.get("kept_for")),
        layers={layer.place: layer for layer in layers},
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _layer(stack: str, row: Mapping[str, Any]) -> LayerRecord:
    heads = row.get("heads") or {}

    def values(name: str) -> Values:
        found = heads.get(name) or ()
        return tuple([v if v is not None and math.isfinite(v) else None for v in found])

    logits = values("max_logit")
    return LayerRecord(
        role=paths.role(stack, row["type"]),
        layer=row["layer"],
        heads=tuple(row.get("head_indices") or ()),
        entropy=values("entropy"),
        coverage=values("coverage"),
        first_token=values("first_token"),
        max_logit=logits,
        top_logit=max((value for value in logits if value is not None), default=None),
        padding_mass=values("padding_mass"),
        keys=(row.get("shape") or [0, 0, 0])[2],
        non_finite=row.get("non_finite") or 0,
        ahead=row.get("ahead"),
        sees_all=bool(row.get("sees_all")),
        predicts=bool(row.get("predicts")),
        future_mass=row.get("future_mass"),
        scale=row.get("scale"),
        width=row.get("width"),
        normed=bool(row.get("normed")),
        softcap=row.get("softcap") or 0.0,
    )
