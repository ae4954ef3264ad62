"""Captures as a history holds them, made of a few numbers."""

from typing import Any

from attnmon_renderer.insight.engine import Engine
from attnmon_renderer.insight.judging.capture_record import CaptureRecord, record_of
from attnmon_renderer.insight.rule_table import make_rules

HEALTHY = {"entropy": 0.5, "coverage": 0.6, "first_token": 0.1, "max_logit": 5.0}


def layer(
    layer: int = 0, kind: str = "self", heads: int = 4, keys: int = 32, *,
    of_heads: dict[str, list[float | None]] | None = None, row: dict[str, Any] | None = None,
    **values: float | None,
) -> dict[str, Any]:  # fmt: skip
    """Returns a layer's row: each statistic has one value for all heads, or one each."""
    statistics = {name: [value] * heads for name, value in (HEALTHY | values).items()}
    return {
        "layer": layer,
        "type": f"{kind}_attention",
        "heads": statistics | (of_heads or {}),
        "head_indices": list(range(heads)),
        "shape": [heads, keys, keys],
        "non_finite": 0,
        **(row or {}),
    }


def capture(
    step: int, *layers: dict[str, Any], stack: str = "decoder", loss: float | None = 1.0,
    **metadata: Any,
) -> dict[str, Any]:  # fmt: skip
    """Returns a line of a history."""
    rows: dict[str, Any] = {"encoder": [], "decoder": []}
    rows[stack] = list(layers or [layer()])
    about = {"step": step, "loss": loss, "timestamp": float(step), **metadata}
    return {"metadata": about, **rows}


def record(*given: Any, **named: Any) -> CaptureRecord:
    """Returns `capture(…)` as rules see it."""
    return record_of(capture(*given, **named))


def engine(name: str, **settings: float) -> Engine:
    """Returns an engine with one rule."""
    return Engine(make_rules([name], {name: settings}))


def changes(judge: Engine, records: list[CaptureRecord]) -> list[tuple[str, str, int]]:
    """Returns the (severity, state, step) of each change of an alert."""
    found = [change.alert for each in records for change in judge.observe(each)]
    return [(alert.severity, alert.state, alert.step) for alert in found]
