"""Turns what rules find at each capture into alerts: pending, firing, resolved."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from attnmon.link.records.alert import LONGEST_TEXT, MOST_HEADS, SEVERITIES, Alert
from attnmon_renderer.insight.judging.capture_record import CaptureRecord
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import PlaceOrRun, Rule, Symptom

CLEARS_AFTER = 5
"""Captures in a row at which nothing may be found any more before an alert is over."""

_Key = tuple[str, PlaceOrRun]
"""A rule, and the place of what it found."""


@dataclass(slots=True)
class _Episode:
    """What was found at one place, from the first capture until it is over."""

    held: int = 0
    """Captures in a row at which the rule held."""
    clear: int = 0
    """Captures in a row at which it did not, in an alert that fires."""
    alert: Alert | None = None
    """As it was told last; None while it is pending."""
    fired: Symptom | None = None
    """What it fired with."""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that came to another state, and what was found."""

    alert: Alert
    symptom: Symptom | None
    """None where it is over."""


class Engine:
    """The state of all alerts of a run; captures are to come in the order of recording."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._past = Past()
        self._episodes: dict[_Key, _Episode] = {}

    @property
    def open_alerts(self) -> list[Alert]:
        """The alerts that fire at present."""
        return [each.alert for each in self._episodes.values() if each.alert is not None]

    def observe(self, record: CaptureRecord) -> list[Change]:
        """Judge one more capture; returns the alerts that it changed.

        A capture that was kept and is drawn late is out of order, so that it changes none.
        """
        if record.is_kept:
            return []
        if self._past.add(record):
            self._forget_pending()
        return [change for rule in self._rules.values() for change in self._apply(rule)]

    def restore(self, records: Iterable[CaptureRecord], alerts: Iterable[Alert]) -> None:
        """Go on from what was recorded: earlier captures, and the alerts as they were left.

        What fires is what was told to fire, whatever these rules would have said.
        """
        for record in records:
            self.observe(record)
        told = {_key_of(alert): alert for alert in alerts if alert.is_open}
        for key, episode in self._episodes.items():
            if episode.alert is not None and key not in told:
                self._episodes[key] = _Episode()
        for key, alert in told.items():
            if alert.rule in self._rules:
                episode = self._episodes.setdefault(key, _Episode())
                episode.alert, episode.fired = alert, episode.fired or _symptom_of(alert)

    def _forget_pending(self) -> None:
        for episode in self._episodes.values():
            episode.held = 0

    def _apply(self, rule: Rule) -> Iterable[Change]:
        found = {(rule.name, symptom.place): symptom for symptom in rule.judge(self._past)}
        open_here = [key for key in self._episodes if key[0] == rule.name and key not in found]
        for key, symptom in found.items():
            yield from self._hold(rule, key, symptom)
        for key in open_here:
            yield from self._clear(rule, key)

    def _hold(self, rule: Rule, key: _Key, symptom: Symptom) -> Iterable[Change]:
        episode = self._episodes.setdefault(key, _Episode())
        is_over_it = symptom.ratio >= 1
        episode.held = episode.held + 1 if is_over_it else 0
        episode.clear = 0
        if episode.alert is None:
            if episode.held >= rule.patience:
                episode.fired = symptom
                episode.alert = _fire(rule, symptom, self._past.newest.step)
                yield Change(episode.alert, symptom)
        elif is_over_it and _rank(symptom) > SEVERITIES.index(episode.alert.severity):
            fresh = _fire(rule, symptom, self._past.newest.step)
            episode.alert = replace(fresh, id=episode.alert.id)
            yield Change(episode.alert, symptom)

    def _clear(self, rule: Rule, key: _Key) -> Iterable[Change]:
        episode = self._episodes[key]
        episode.held = 0
        if episode.alert is None or episode.fired is None:
            del self._episodes[key]
            return
        if _is_unknown(key, self._past):
            return
        if rule.lasts(episode.fired, self._past):
            episode.clear = 0
            return
        episode.clear += 1
        if episode.clear >= CLEARS_AFTER:
            del self._episodes[key]
            yield Change(_resolve(episode.alert, self._past.newest.step), None)


def _is_unknown(key: _Key, past: Past) -> bool:
    """Return whether the layer is NaN or infinite: nothing found there is no recovery."""
    role, number = key[1]
    layer = None if number is None else past.newest.layers.get((role, number))
    return layer is not None and layer.non_finite > 0


def _fire(rule: Rule, symptom: Symptom, step: int) -> Alert:
    role, layer = symptom.place
    where = f"{role or 'run'}-{'all' if layer is None else layer}"
    return Alert(
        id=f"{rule.name}-{where}-{step}",
        rule=rule.name,
        severity=symptom.severity,
        state="firing",
        step=step,
        role=role,
        layer=layer,
        heads=symptom.heads[:MOST_HEADS],
        value=_as_float(symptom.value),
        threshold=_as_float(symptom.threshold),
        text=symptom.text[:LONGEST_TEXT],
        advice=symptom.advice[:LONGEST_TEXT],
    )


def _as_float(number: float | None) -> float | None:
    """Return a number as messages have it: a count that a rule compares is an int."""
    return None if number is None else float(number)


def _resolve(alert: Alert, step: int) -> Alert:
    text = f"It is over since step {step:,}. It was: {alert.text}"[:LONGEST_TEXT]
    return replace(alert, state="resolved", step=step, text=text, pictures=())


def _rank(symptom: Symptom) -> int:
    return SEVERITIES.index(symptom.severity)


def _key_of(alert: Alert) -> _Key:
    return alert.rule, (alert.role, alert.layer)


def _symptom_of(alert: Alert) -> Symptom:
    return Symptom(
        (alert.role, alert.layer), alert.severity, 1.0, alert.value, alert.threshold, alert.text,
        alert.advice, alert.heads,
    )  # fmt: skip
