"""Disturb trainings in every way, and check that they are not affected and that nothing is lost.

    python scripts/chaos.py [--seed 1] [--worker-kills 200] [--trainer-kills 50]
                            [--minutes 30] [--quick] [--json FILE]

Small trainings run in processes of their own while their renderers are killed, stopped, slowed
down and given a full disk, and they themselves are killed and resumed. After each, all that is
promised is checked: see `chaoslib.checks`. `--minutes` adds one long training, whose renderer is
sampled on the way. Exits with 1 if anything was violated. Where it may mount one it fills a disk
of its own; elsewhere the renderer's files get a limit.
"""

import argparse
import ctypes
import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from chaoslib.disk import MEBIBYTE, disk_at
from chaoslib.round import Plan, Round, expected_at
from chaoslib.soak import report_trend, soak

DISK_BYTES = 256 * MEBIBYTE
CLONE_NEWNS = 0x20000
SUPERVISOR_KILLED = 0.1
"""Share of the rounds in which the supervisor is killed."""


def rounds(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run rounds until both numbers of kills are reached."""
    expected = expected_at(folder / "expected", plan_of(options, 0, 0, random.Random()))
    faults, violations, trainings, number = Counter[str](), list[str](), 0, 0
    while not enough(faults, options):
        number += 1
        one = run_round(options, number, faults, folder, expected)
        faults.update(one.injector.counts)
        trainings += one.trainings
        violations += one.violations
        print_round(number, one)
    return {"trainings": trainings, "faults": dict(faults), "violations": violations}


def run_round(
    options: argparse.Namespace, number: int, faults: Counter[str], folder: Path, expected: Path
) -> Round:
    """Run and check one more round; the seed and its number determine its faults."""
    rng = random.Random(f"{options.seed} {number}")
    kills_left = options.worker_kills - kills_of_children(faults)
    plan = plan_of(options, options.trainer_kills - faults["training killed"], kills_left, rng)
    disk = disk_at(folder / f"disk {number}", DISK_BYTES, mounted=options.mount)
    try:
        one = Round(plan, folder / f"round {number}", disk, expected, rng)
        one.run()
    finally:
        disk.close()
    return one


def plan_of(
    options: argparse.Namespace, trainer_kills: int, kills: int, rng: random.Random
) -> Plan:
    """Returns the plan of the next round, with at most so many kills."""
    if options.quick:
        return Plan(steps=40, trainer_kills=min(trainer_kills, 1), kills=min(kills, 2))
    return Plan(
        trainer_kills=min(rng.randint(0, 4), trainer_kills),
        kills=min(kills, 3),
        supervisor_killed=rng.random() < SUPERVISOR_KILLED,
    )


def enough(faults: Counter[str], options: argparse.Namespace) -> bool:
    left = options.trainer_kills - faults["training killed"]
    return left <= 0 and kills_of_children(faults) >= int(options.worker_kills)


def kills_of_children(faults: Counter[str]) -> int:
    return faults["worker killed"] + faults["recorder killed"]


def print_round(number: int, one: Round) -> None:
    faults = ", ".join(f"{count} {fault}" for fault, count in sorted(one.injector.counts.items()))
    verdict = "ok" if not one.violations else "; ".join(one.violations)
    print(f"round {number}: {one.trainings} trainings; {faults}: {verdict}", flush=True)


def own_mounts() -> bool:
    """Returns whether this process may mount a disk that only it sees and that ends with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(CLONE_NEWNS):
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False).returncode == 0


def report(found: dict[str, Any]) -> None:
    print(
        f"\nseed {found['seed']}, {found['trainings']} trainings, {found['seconds']:.0f} s, ",
        end="",
    )
    print("a disk of its own" if found["disk"] else "no disk of its own: a limit on files instead")
    for fault, count in sorted(found["faults"].items()):
        print(f"{count:6}  {fault}")
    if "soak" in found:
        report_trend(found["soak"])
    for violation in found["violations"]:
        print(f"VIOLATED: {violation}")
    print("nothing was violated" if not found["violations"] else "something was violated")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--worker-kills", type=int, default=200)
    parser.add_argument("--trainer-kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=0.0, help="then one long training")
    parser.add_argument("--quick", action="store_true", help="shorter trainings")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    options.mount = own_mounts()
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attnmon-chaos-") as folder:
        found = {"seed": options.seed, "disk": options.mount, **rounds(options, Path(folder))}
        if options.minutes:
            found["soak"] = soak(options, Path(folder))
            found["violations"] += found["soak"].pop("violations")
    found["seconds"] = time.monotonic() - started
    report(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return 1 if found["violations"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
