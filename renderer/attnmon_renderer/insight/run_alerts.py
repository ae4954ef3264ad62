"""The alerts of a run that is recorded: judges each capture, and goes on after a restart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon.link import descriptors
from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.alert_log import append_alerts, read_alerts
from attnmon_renderer.insight.alert_pictures import find_pictures
from attnmon_renderer.insight.engine import Change, Engine
from attnmon_renderer.insight.judging.capture_record import CaptureRecord, record_of
from attnmon_renderer.insight.judging.rule import Rule
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.records import read_capture

MOST_REPLAYED = 160
"""Captures that are judged again when a recorder starts: those that rules may look back to."""
MOST_REPLAYED_BYTES = 1 << 25


class RunAlerts:
    """Judges captures as they are recorded, and writes `alerts.jsonl`.

    What was recorded before is read with the first capture, so that a recorder starts as fast as
    without rules.
    """

    def __init__(self, save_dir: Path, rules: Sequence[Rule]) -> None:
        self._save_dir = save_dir
        self._rules = rules
        self._engine: Engine | None = None

    def judge(self, capture: Mapping[str, Any], folder: str) -> list[Alert]:
        """Judge one more capture, as its line in the history; returns the alerts that it changed.

        Raises OSError where they cannot be written; then they are lost.
        """
        if not self._rules:
            return []
        record = record_of(capture)
        if self._engine is None:
            self._engine = self._restored(record)
        alerts = [self._pictured(change, folder) for change in self._engine.observe(record)]
        append_alerts(self._save_dir, alerts)
        return alerts

    @property
    def open_alerts(self) -> list[Alert]:
        """The alerts that fire at present."""
        return [] if self._engine is None else self._engine.open_alerts

    def _pictured(self, change: Change, folder: str) -> Alert:
        if change.symptom is None:
            return change.alert
        symptom = change.symptom
        found = find_pictures(self._save_dir, folder, symptom.pictures, symptom.place)
        return replace(change.alert, pictures=found)

    def _restored(self, first: CaptureRecord) -> Engine:
        """Return an engine as an earlier recorder has left it, before this capture."""
        engine = Engine(self._rules)
        same = (first.step, first.timestamp)
        earlier = [each for each in self._replayed() if (each.step, each.timestamp) != same]
        engine.restore(earlier, read_alerts(self._save_dir))
        return engine

    def _replayed(self) -> list[CaptureRecord]:
        try:
            with regular_files.open_to_read(self._save_dir / "history.jsonl") as file:
                tail = descriptors.read_tail(file.fileno(), MOST_REPLAYED_BYTES)
        except OSError:
            return []
        captures = map(read_capture, tail.splitlines()[-MOST_REPLAYED:])
        return [record_of(capture) for capture in captures if capture is not None]
