"""Say what this machine offers, and what the monitor will do about it.

Everything is tried: a ring is made, a child takes the lowest priority, a renderer draws one capture
into a temporary directory. The exit code is 0, or 1 when something failed.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from attnmon_renderer.terminal import harmless

if TYPE_CHECKING:
    from attnmon_renderer.doctor import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from attnmon_renderer.doctor import examine

    findings = list(examine()) if arguments.json else _print_findings(examine())
    failed = [finding.topic for finding in findings if finding.verdict == "fail"]
    if arguments.json:
        as_json = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": not failed, "findings": as_json}, indent=2))
    elif failed:
        print(f"\nFailed: {', '.join(dict.fromkeys(failed))}. Training goes on all the same.")
    else:
        print("\nEverything the monitor needs is here.")
    return 1 if failed else 0


def _print_findings(findings: Iterable["Finding"]) -> list["Finding"]:
    """Print each finding as soon as it is known; returns all."""
    printed = []
    for finding in findings:
        print(f"{finding.verdict}  {finding.topic:14} {harmless(finding.found)}", flush=True)
        if finding.then:
            print(f"{'':21} → {harmless(finding.then)}", flush=True)
        printed.append(finding)
    return printed
