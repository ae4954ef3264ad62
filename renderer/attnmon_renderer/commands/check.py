"""Judge a recorded run again by the rules of the alerts, with other settings if you like.

Nothing is written. It prints each change of an alert. The exit code is 0; 1 when an error fired,
with --strict also for a warning; 2 when there is no run in the directory, or no such rule.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from attnmon.link.alert import Alert, Severity
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
    found = list(judged(folder, rules, damages))
    if arguments.json:
        print(json.dumps([alert.fields() for alert in found], indent=2))
    else:
        _print(found)
    for damage in damages:
        print(f"attnmon check: {harmless(damage)}", file=sys.stderr)
    least: Severity = "warn" if arguments.strict else "error"
    return 1 if any(alert.is_open and alert.is_at_least(least) for alert in found) else 0


def judged(folder: Path, rules: tuple[Rule, ...], damages: list[str]) -> Iterator[Alert]:
    """Yield the changes of alerts in a recorded history, oldest first."""
    engine = Engine(rules)
    torn = 0
    with HistoryFile(folder / "history.jsonl", damages) as file:
        for line in file.lines():
            capture = read_capture(line.content)
            if capture is None:
                torn += 1
            else:
                yield from (change.alert for change in engine.observe(record_of(capture)))
        file.tell_left_out(torn)


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


def _print(found: list[Alert]) -> None:
    for alert in found:
        state = alert.severity if alert.is_open else "over"
        print(f"step {alert.step:>8,}  {state:5}  {alert.rule}: {harmless(alert.text)}")
        if alert.is_open and alert.advice:
            print(f"{'':22}{harmless(alert.advice)}")
    fired = len({alert.id for alert in found})
    print(f"{counted(fired, 'alert')}" if fired else "no alert")
