"""Measure what a mirror takes from a training, and what it sends.

    python scripts/bench_mirror.py [--seconds 270] [--quick] [--json FILE]

Blocks of steps take turns at random, each with a monitor of its own: with a mirror, and without.
The mirror is a directory, through fsspec: measured is the uploader's process, and no network.
torch leaves one core to spare. The interval is that of 2,000 bootstrap samples of pairs of blocks.
The processor time of the training's process says less, and the same on a busy machine.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchlib.ratios import bootstrap, geometric_mean
from benchlib.workloads import SMALL, TINY, Training, Workload

from attnmon import TrainingAttentionMonitor

EVERY = 20
"""Steps from one capture to the next."""


class Block(NamedTuple):
    """What some steps took, and their losses."""

    seconds: float
    processor_seconds: float
    losses: str


def block(training: Training, steps: int, folder: Path, mirror: Path | None) -> Block:
    """Train with a monitor of its own."""
    url = None if mirror is None else mirror.as_uri()
    losses = []
    with TrainingAttentionMonitor(
        folder, EVERY, maps="all", mirror=url, max_overhead=None
    ) as monitor:
        begin, before = time.perf_counter(), time.process_time()
        for step in range(steps):
            losses.append(training.step())
            monitor.log_attention(training.model, training.enc, training.dec, step, losses[-1])
        seconds, processor = time.perf_counter() - begin, time.process_time() - before
    return Block(seconds, processor, " ".join(loss.hex() for loss in losses))


def measured(workload: Workload, steps: int, seconds: float, least: int) -> dict[str, Any]:
    """Return how much longer a step takes with a mirror, and what was sent for what was written.

    It takes so many seconds, and at least so many pairs of blocks.
    """
    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))
    training = Training(workload)
    pairs: list[tuple[float, float]] = []
    sent = written = 0
    begin = time.monotonic()
    while time.monotonic() - begin < seconds or len(pairs) < least:
        with tempfile.TemporaryDirectory() as name:
            blocks = {}
            for mirrored in random.sample((True, False), 2):
                folder = Path(name, str(mirrored))
                mirror = Path(name, "bucket") if mirrored else None
                blocks[mirrored] = block(training, steps, folder, mirror)
            sent += size_of(Path(name, "bucket"))
            written += size_of(Path(name, "True"))
        on, off = blocks[True], blocks[False]
        pairs.append((on.seconds / off.seconds, on.processor_seconds / off.processor_seconds))
    ratios, of_processor = zip(*pairs[1:], strict=True)  # the first pair loads the libraries
    low, high = bootstrap(ratios)
    processor_low, processor_high = bootstrap(of_processor)
    return {
        "ratio": geometric_mean(ratios), "low": low, "high": high,
        "processor": geometric_mean(of_processor),
        "processor_low": processor_low, "processor_high": processor_high,
        "pairs": len(ratios), "in_bucket": sent / written,
        "bit_identical": is_bit_identical(workload, steps),
    }  # fmt: skip


def is_bit_identical(workload: Workload, steps: int) -> bool:
    """Return whether a training has the same losses with a mirror and without."""
    found = set()
    for mirrored in (True, False):
        with tempfile.TemporaryDirectory() as name:
            torch.manual_seed(0)
            training = Training(workload, 2)
            mirror = Path(name, "bucket") if mirrored else None
            found.add(block(training, steps, Path(name, "run"), mirror).losses)
    return len(found) == 1


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=270.0, help="of blocks; some more in all")
    parser.add_argument("--quick", action="store_true", help="only try whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    quick, usual = (TINY, EVERY, 0.0, 2), (SMALL, 200, options.seconds, 3)
    found = measured(*(quick if options.quick else usual))
    print(
        f"mirrored  step x {found['ratio']:.4f} ({found['low']:.4f} … {found['high']:.4f}), "
        f"processor time x {found['processor']:.4f} ({found['processor_low']:.4f} … "
        f"{found['processor_high']:.4f}), {found['pairs']} pairs; "
        f"the bucket holds {found['in_bucket']:.2f} of what was written; "
        f"losses {'bit-identical' if found['bit_identical'] else 'DIFFER'}"
    )
    if options.json:
        machine = f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}"
        options.json.write_text(json.dumps({"machine": machine, **found}, indent=1))


if __name__ == "__main__":
    main()
