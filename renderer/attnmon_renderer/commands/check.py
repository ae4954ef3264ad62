"""Judge a recorded run again by the rules of the alerts, with other settings if you like.

Nothing is written. It prints each change of an alert, with what to try where that was not said
before, and how many there were. The exit code is 0; 1 when an error fired, even if it is over, with
--strict also for a warning; 2 when there is no run in the directory, or no such rule.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path

from attnmon.link.records.alert import SEVERITIES, Alert, Severity
from attnmon_renderer.insight.engine import Engine
from attnmon_renderer.insight.judging.capture_record import record_of
from attnmon_renderer.insight.judging.rule import Rule
from attnmon_renderer.insight.rule_table import RULES, make_rules
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.history_reader import HistoryFile
from attnmon_renderer.storage.records import read_capture
from attnmon_renderer.storage.run_reader import NoRun, read_run
from attnmon_renderer.terminal import counted, harmless


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.epilog = "\n".join(["settings of the rules:", *map(_settings, RULES.values())])
    add("directory", metavar="DIR", type=Path, help="a monitor's save_dir")
    add("--only", metavar="RULE", nargs="+", help=f"of {', '.join(RULES)}")
    setting = "such as logit_growth.top=80; may be given several times"
    add("--set", metavar="RULE.FIELD=VALUE", action="append", default=[], help=setting)
    add("--strict", action="store_true", help="exit with 1 for a warning, too")
    add("--json", action="store_true", help="print a list of all changes, as in alerts.jsonl")


def run(arguments: argparse.Namespace) -> int:
    folder = regular_files.resolved(arguments.directory)
    damages: list[str] = []
    try:
        rules = _rules(arguments)
        read_run(folder)
    except (ValueError, NoRun) as error:
        print(f"attnmon check: {harmless(error)}", file=sys.stderr)
        return 2
    judged = judge(folder, rules, damages)
    if arguments.json:
        print(json.dumps([alert.fields() for alert in judged.changes], indent=2))
    else:
        print("\n".join(_lines(judged)))
    for damage in damages:
        print(f"attnmon check: {harmless(damage)}", file=sys.stderr)
    least: Severity = "warn" if arguments.strict else "error"
    return 1 if any(each.is_open and each.is_at_least(least) for each in judged.changes) else 0


@dataclass
class JudgedHistory:
    """What the rules say of a recorded run."""

    steps: list[int] = field(default_factory=list)
    """Of the captures, as they were recorded."""
    changes: list[Alert] = field(default_factory=list)
    """Each change of an alert, oldest first."""

    @property
    def episodes(self) -> dict[str, list[Alert]]:
        """The changes of each alert, by its id."""
        found: dict[str, list[Alert]] = {}
        for change in self.changes:
            found.setdefault(change.id, []).append(change)
        return found


def judge(folder: Path, rules: tuple[Rule, ...], damages: list[str]) -> JudgedHistory:
    """Judge a recorded history; `damages` gets what could not be read."""
    engine, judged = Engine(rules), JudgedHistory()
    torn = 0
    with HistoryFile(folder / "history.jsonl", damages) as file:
        for line in file.lines():
            capture = read_capture(line.content)
            if capture is None:
                torn += 1
                continue
            record = record_of(capture)
            judged.steps.append(record.step)
            judged.changes += [change.alert for change in engine.observe(record)]
        file.tell_left_out(torn)
    return judged


def _rules(arguments: argparse.Namespace) -> tuple[Rule, ...]:
    """Return the rules that are meant. Raises ValueError."""
    settings: dict[str, dict[str, float]] = {}
    for given in arguments.set:
        place, equals, value = given.partition("=")
        rule, dot, field = place.partition(".")
        if not (equals and dot):
            raise ValueError(f"--set {given}: give RULE.FIELD=VALUE, such as logit_growth.top=80")
        try:
            settings.setdefault(rule, {})[field] = float(value)
        except ValueError:
            raise ValueError(f"--set {given}: {value!r} is no number") from None
    return make_rules(arguments.only or RULES, settings)


def _settings(rule: type[Rule]) -> str:
    """Return the settings of a rule with their defaults: "  logit_high: patience=2 high=100"."""
    return f"  {rule.name}: " + " ".join(f"{each.name}={each.default:g}" for each in fields(rule))


def _lines(judged: JudgedHistory) -> list[str]:
    """Return a line for each change, and for what to try the first time, and a sum."""
    lines: list[str] = []
    for alert in judged.changes:
        state = alert.severity if alert.is_open else "over"
        lines.append(f"step {alert.step:>8,}  {state:5}  {alert.rule}: {harmless(alert.text)}")
        advice = f"{'':22}{harmless(alert.advice)}"
        if alert.is_open and alert.advice and advice not in lines:
            lines.append(advice)
    return [*lines, _sum(judged)]


def _sum(judged: JudgedHistory) -> str:
    """Return "134 captures, steps 0 to 399: 3 alerts (2 error, 1 warn), 1 of them still open"."""
    steps, last = judged.steps, [episode[-1] for episode in judged.episodes.values()]
    if not steps:
        return "no capture was recorded"
    seen = f"{counted(len(steps), 'capture')}, steps {min(steps):,} to {max(steps):,}"
    if not last:
        return f"{seen}: no alert"
    severities = [alert.severity for alert in last]
    each = [(severities.count(one), one) for one in reversed(SEVERITIES)]
    named = ", ".join(f"{count} {severity}" for count, severity in each if count)
    still = sum(alert.is_open for alert in last)
    return f"{seen}: {counted(len(last), 'alert')} ({named}), {still} of them still open"
