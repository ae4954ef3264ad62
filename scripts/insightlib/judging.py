"""Judges recorded trainings: when they went wrong, and who said so and when."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from statistics import median

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.engine import Engine
from attnmon_renderer.insight.judging.capture_record import record_of
from attnmon_renderer.insight.news import News
from attnmon_renderer.insight.rule_table import make_rules
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.records import read_capture
from insightlib import baselines
from insightlib.configuration import Configuration
from insightlib.configurations import HALF

LASTS = 50
"""Steps that a loss must stay too high."""
OURS = "alerts (warn and above)"


@dataclass
class Judged:
    """One training: what became of it, and the steps at which each way of watching alarmed."""

    configuration: Configuration
    seed: int
    captures: int
    twin_onset: int | None
    """From where on the loss is above the twin's; None if it never is for long."""
    band_onset: int | None
    """From where on it is above its own best, which is what one can see."""
    alarms: dict[str, list[int]] = field(default_factory=dict)
    """By name of the way: the steps of alarms."""
    counts: dict[str, int] = field(default_factory=dict)
    """By name of the way: how many alarms these are."""
    alerts: list[Alert] = field(default_factory=list)
    messages: int = 0

    @property
    def half(self) -> str:
        return HALF[self.configuration.name]

    @property
    def kind(self) -> str:
        """ "mask", "sick", "healthy", or "neither": a fault without harm, or harm without one."""
        of = self.configuration
        if of.fault == "mask":
            return "mask"
        harmed = self.twin_onset is not None
        if of.fault:
            return "sick" if harmed else "neither"
        return "neither" if harmed else "healthy"


def judge(of: Configuration, seed: int, runs: Path) -> Judged | None:
    """Judge one training; None where it, or its twin, is not there."""
    folder = runs / of.name / str(seed)
    own, twin = _series(folder), _series(runs / (of.twin or of.name) / str(seed))
    if own is None or twin is None:
        return None
    losses, norms = own
    alerts, tops, captures = _alerts(folder, losses)
    judged = Judged(
        of, seed, captures, _onset(losses, twin[0], of), _band_onset(losses), alerts=alerts
    )
    judged.messages = len(News("warn").of(alerts))
    firing = [a for a in alerts if a.is_open and a.is_at_least("warn")]
    judged.alarms = {
        OURS: [alert.step for alert in firing],
        "loss 6 σ / 128": baselines.above_six_sigma(losses),
        "gradient norm 6 σ / 128": baselines.above_six_sigma(norms),
        "union of three loss rules": baselines.of_loss(losses),
        "largest logit > 100": baselines.large_logits(tops),
    } | {
        rule.name: [alert.step for alert in firing if alert.rule == rule.name]
        for rule in make_rules()
    }
    judged.counts = {way: baselines.episodes(steps) for way, steps in judged.alarms.items()}
    for way in (OURS, *(rule.name for rule in make_rules())):
        judged.counts[way] = len({a.id for a in firing if way in (OURS, a.rule)})
    return judged


def _series(folder: Path) -> tuple[list[float], list[float]] | None:
    try:
        content = json.loads((folder / "series.json").read_text())
    except OSError:
        return None
    if any(accounts["failed"] or accounts["dropped"] for accounts in content["accounts"]):
        return None
    return content["losses"], content["norms"]


def _alerts(
    folder: Path, losses: Sequence[float]
) -> tuple[list[Alert], list[tuple[int, float]], int]:
    """Return the changes of alerts, each capture's largest logit, and how many captures."""
    engine = Engine(make_rules())
    alerts: list[Alert] = []
    tops = []
    with HistoryFile(folder / "history.jsonl", []) as file:
        for line in file.lines():
            capture = read_capture(line.content)
            assert capture is not None
            step = capture["metadata"]["step"]
            if step < len(losses) and not isfinite(losses[step]):
                capture["metadata"]["loss_is_no_number"] = True
            record = record_of(capture)
            alerts += [change.alert for change in engine.observe(record)]
            tops.append((step, max((each.top_logit or 0.0) for each in record.layers.values())))
    return alerts, tops, len(tops)


def _smooth(losses: Sequence[float]) -> list[float]:
    """Return the median of the nine losses to each step; infinity for what is no number."""
    finite = [loss if isfinite(loss) else inf for loss in losses]
    return [median(finite[max(0, step - 8) : step + 1]) for step in range(len(finite))]


def _onset(losses: list[float], twin: list[float], of: Configuration) -> int | None:
    if not of.twin or of.changes_at:
        return None
    pairs = list(zip(_smooth(losses), _smooth(twin), strict=False))
    return _first_lasting([own > other + max(0.1, 0.05 * other) for own, other in pairs])


def _band_onset(losses: list[float]) -> int | None:
    smooth, best, worse = _smooth(losses), inf, []
    for step, loss in enumerate(smooth):
        best = min(best, loss)
        nearby = [each for each in losses[max(0, step - 50) : step + 1] if isfinite(each)]
        spread = 3 * _deviation(nearby[-20:]) if len(nearby) > 5 else inf
        worse.append(step > 20 and loss > best + max(0.1, 0.05 * best, min(spread, best)))
    return _first_lasting(worse)


def _deviation(values: Sequence[float]) -> float:
    middle = median(values)
    return 1.48 * median([abs(value - middle) for value in values])


def _first_lasting(worse: Sequence[bool]) -> int | None:
    """Return where it begins to be worse for so many steps, or to the end."""
    since: int | None = None
    for step, is_worse in enumerate(worse):
        since = (step if since is None else since) if is_worse else None
        if since is not None and step - since + 1 >= LASTS:
            return since
    return since if since is not None and len(worse) - since >= LASTS // 2 else None
