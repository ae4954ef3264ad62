"""One long training under faults, whose processes are sampled to find leaks."""

import argparse
import json
import random
import statistics
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from chaoslib.checks import SETTLED
from chaoslib.disk import MEBIBYTE, disk_at
from chaoslib.processes import descriptors, marked, memory
from chaoslib.round import Plan, Round, expected_at

Samples = dict[str, list[float]]

STEPS_PER_MINUTE = 1200
EVERY = 40
PAUSE = 0.04
FAULTS_PER_SECOND = 0.2
BYTES_PER_MINUTE = 24 * MEBIBYTE
SECONDS_BETWEEN_SAMPLES = 2.0
GROWTH = 1.1
"""Memory that grows by more than this factor from the second quarter to the last is a leak."""
FEWEST_SAMPLES = 4
"""With fewer samples there is no trend."""
UNITS = {"memory": 1 / MEBIBYTE, "descriptors": 1, "processes": 1}


class Sampler(threading.Thread):
    """Samples the processes of a training every few seconds until `stop` is called."""

    def __init__(self, mark: str) -> None:
        super().__init__(daemon=True)
        self.samples: Samples = defaultdict(list)
        self._mark = mark
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_SAMPLES):
            self._sample()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _sample(self) -> None:
        found = marked(self._mark)
        roles = Counter(process.role for process in found)
        if not {"trainer", "supervisor", "recorder"} <= roles.keys():
            return  # it is starting, or ending
        self.samples["processes"].append(len(found))
        for role in ("trainer", "supervisor", "recorder", "worker"):
            pids = [process.pid for process in found if process.role == role]
            if pids:
                self.samples[f"memory of a {role}"].append(max(map(memory, pids)))
                self.samples[f"descriptors of a {role}"].append(max(map(descriptors, pids)))


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train for `options.minutes` under faults; returns trends of the samples and violations."""
    plan = Plan(steps=max(1, round(options.minutes * STEPS_PER_MINUTE)), every=EVERY, pause=PAUSE)
    plan.faults_per_second = FAULTS_PER_SECOND
    expected = expected_at(folder / "soak expected", plan)
    nbytes = round(64 * MEBIBYTE + options.minutes * BYTES_PER_MINUTE)
    disk = disk_at(folder / "soak disk", nbytes, mounted=options.mount)
    started = time.monotonic()
    try:
        one = Round(plan, folder / "soak", disk, expected, random.Random(f"{options.seed} soak"))
        sampler = Sampler(one.mark)
        sampler.start()
        one.run()
        sampler.stop()
        accounts = accounts_of(one)
    finally:
        disk.close()
    trends = {name: trend(values) for name, values in sampler.samples.items()}
    return {
        "minutes": (time.monotonic() - started) / 60,
        "faults": dict(one.injector.counts),
        "accounts": accounts,
        "trends": trends,
        "violations": [*one.violations, *leaks(trends)],
    }


def accounts_of(one: Round) -> dict[str, int]:
    summary = json.loads((one.save_dir / "summary.json").read_text())
    return {name: summary[name] for name in ("captured", *SETTLED)}


def trend(values: list[float]) -> dict[str, float]:
    """Returns the medians of the second and the last quarter of the samples, and the maximum."""
    quarter = max(1, len(values) // 4)
    early, late = values[quarter : 2 * quarter] or values, values[-quarter:]
    return {
        "samples": len(values),
        "second_quarter": statistics.median(early),
        "last_quarter": statistics.median(late),
        "most": max(values),
    }


def leaks(trends: dict[str, dict[str, float]]) -> list[str]:
    """Returns a sentence for each trend with more descriptors or processes, or much more memory."""
    found = [] if trends else ["nothing was sampled"]
    for name, figures in trends.items():
        if figures["samples"] < FEWEST_SAMPLES:
            found.append(f"{name} was sampled {figures['samples']} times only")
        allowed = figures["second_quarter"] * (GROWTH if name.startswith("memory") else 1)
        if figures["last_quarter"] > allowed:
            found.append(
                f"{name} grew from {figures['second_quarter']:g} to {figures['last_quarter']:g}"
            )
    return found


def report_trend(found: dict[str, Any]) -> None:
    print(f"\nsoak of {found['minutes']:.1f} minutes: {found['accounts']}")
    for fault, count in sorted(found["faults"].items()):
        print(f"{count:6}  {fault}")
    print(f"{'median of':28} {'quarter 2':>10} {'quarter 4':>10} {'most':>10}  samples")
    for name, figures in sorted(found["trends"].items()):
        unit = UNITS[name.partition(" ")[0]]
        columns = (figures[key] * unit for key in ("second_quarter", "last_quarter", "most"))
        numbers = " ".join(f"{value:10.1f}" for value in columns)
        print(f"{name:28} {numbers} {figures['samples']:8}{'  MiB' if unit < 1 else ''}")
