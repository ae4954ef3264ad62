"""Measure how soon `attnmon view` shows a capture, what the server takes, and what following does.

    python scripts/bench_view.py [--captures 50] [--seconds 60] [--quick] [--json FILE]

*Fresh*: from the capture's line in history.jsonl to its maps at a client that follows the events,
while a training of 25 ms a step runs in a process of its own; the same training is made again
without a monitor, and must have the same losses, bit for bit. *Server*: its memory after all of a
run of 1,000 captures of 12 x 12 heads was asked for, and the processor time it takes with a page
open and nothing new. *Followed*: steps of a training that is followed by a server and a client in
processes of their own against steps that are not, in blocks that take turns at random; torch
leaves one core to spare. The interval is that of 2,000 bootstrap samples of pairs of blocks.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchlib import view_client
from benchlib.many_captures import write_many
from benchlib.ratios import bootstrap, geometric_mean
from benchlib.view_client import Follower, ViewServer, fetch_maps
from benchlib.workloads import SMALL, TINY, WORKLOADS, Training

from attnmon import TrainingAttentionMonitor

SPARE = max(1, (os.cpu_count() or 1) - 1)
EVERY = {"small": 40, "tiny": 20}
"""Steps from one capture to the next."""
WATCH_SECONDS = 0.002
BATCH = {"small": 16, "tiny": 2}


def train(workload: str, steps: int, folder: Path | None, pause: float = 0.0) -> str:
    """Train, with a monitor if a folder is given; returns a digest of all losses."""
    torch.set_num_threads(SPARE)
    training, losses = Training(WORKLOADS[workload], BATCH[workload]), hashlib.sha256()
    with ExitStack() as stack:
        monitor = folder and stack.enter_context(
            TrainingAttentionMonitor(folder, EVERY[workload], maps="all", max_overhead=None)
        )
        for step in range(steps):
            loss = training.step()
            losses.update(loss.hex().encode())
            if monitor:
                monitor.log_attention(training.model, training.enc, training.dec, step, loss)
            time.sleep(pause)
    return losses.hexdigest()


def freshness(workload: str, captures: int) -> dict[str, Any]:
    """Follow a training. Returns the seconds from lines to maps, and whether losses are equal."""
    steps, pause = (captures + 2) * EVERY[workload], 0.01 if workload == "tiny" else 0.0
    written, shown = Moments(), Moments()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with (
            get_context("fork").Pool(1) as other_process,  # first: so far nothing was computed here
            watching(folder / "history.jsonl", written),
            ViewServer(folder) as server,
            Follower(server, shown.note),
        ):
            followed = other_process.apply(train, (workload, steps, folder, pause))
            shown.wait_for((folder / "history.jsonl").stat().st_size)
        alone = train(workload, steps, None)
    waits = [moment - written.first_at(cursor) for cursor, moment in shown.all]
    return {
        "captures": len(waits),
        **{name: float(np.quantile(waits, q)) for name, q in (("median_s", 0.5), ("p95_s", 0.95))},
        "worst_s": max(waits),
        "bit_identical": followed == alone,
    }


class Moments:
    """When a history had how many bytes."""

    def __init__(self) -> None:
        self.all: list[tuple[int, float]] = []

    def note(self, size: int) -> None:
        self.all.append((size, time.monotonic()))

    def wait_for(self, size: int) -> None:
        """Wait until the history is known to have so many bytes. Raises TimeoutError."""
        ending = time.monotonic() + 30.0
        while not any(known >= size for known, _ in self.all):
            if time.monotonic() > ending:
                raise TimeoutError(f"the end of a history of {size} bytes was not shown")
            time.sleep(0.05)

    def first_at(self, size: int) -> float:
        """Return when the history first had so many bytes."""
        return next(moment for known, moment in self.all if known >= size)


@contextmanager
def watching(path: Path, moments: Moments) -> Iterator[None]:
    """Note each growth of a file in a thread."""
    ending = threading.Event()

    def watch() -> None:
        size = 0
        while not ending.wait(WATCH_SECONDS):
            if path.exists() and (now := path.stat().st_size) != size:
                size = now
                moments.note(size)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def server_figures(captures: int, side: int, seconds: float) -> dict[str, Any]:
    """Ask for all of a large run. Returns memory and processor time of the server."""
    with tempfile.TemporaryDirectory() as name:
        write_many(Path(name), captures, side, side, 128)
        with ViewServer(Path(name, "many")) as server:
            began = time.monotonic()
            [row] = server.json("/api/v1/runs")
            document = server.json(f"/api/v1/runs/{row['id']}")
            server.history(row["id"])
            opened = time.monotonic() - began
            began = time.monotonic()
            some = document["captures"][:: max(1, captures // 20)]
            sent = sum(fetch_maps(server, row["id"], each["c"]) for each in some)
            each_capture = (time.monotonic() - began) / len(some)
            connection, _ = server.stream()
            before = server.cpu_seconds()
            time.sleep(seconds)
            idle = (server.cpu_seconds() - before) / seconds
            connection.close()
            return {
                "captures": captures, "heads": side * side, "opened_s": opened,
                "capture_s": each_capture, "capture_kb": sent / len(some) / 1e3,
                "memory_mb": server.megabytes(), "most_mb": server.megabytes("VmHWM"),
                "idle_cpu": idle,
            }  # fmt: skip


def followed_figures(workload: str, seconds: float) -> dict[str, Any]:
    """Train in blocks that are followed, or not. Returns how much longer a step takes then."""
    torch.set_num_threads(SPARE)
    training = Training(WORKLOADS[workload], BATCH[workload])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        monitor = TrainingAttentionMonitor(folder, EVERY[workload], maps="all", max_overhead=None)
        command = [sys.executable, view_client.__file__, folder]
        follower = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert follower.stdin is not None
        assert follower.stdout is not None
        blocks: list[tuple[float, float]] = []
        step = 0
        begin = time.monotonic()
        while time.monotonic() - begin < seconds or len(blocks) < 2:
            times = {}
            for is_followed in random.sample((True, False), 2):
                print("on" if is_followed else "off", file=follower.stdin, flush=True)
                follower.stdout.readline()
                started = time.perf_counter()
                for _ in range(2 * EVERY[workload]):
                    loss = training.step()
                    monitor.log_attention(training.model, training.enc, training.dec, step, loss)
                    step += 1
                times[is_followed] = time.perf_counter() - started
            blocks.append((times[True], times[False]))
        follower.stdin.close()
        told = json.loads(follower.stdout.read())
        follower.wait()
        monitor.close()
    ratios = [on / off for on, off in blocks[1:] or blocks]
    low, high = bootstrap(ratios)
    return {
        "ratio": geometric_mean(ratios), "low": low, "high": high,
        "pairs": len(ratios), **told,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captures", type=int, default=50, help="to wait for")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, and of idling")
    parser.add_argument("--quick", action="store_true", help="only try whether it runs")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = measured_quickly() if options.quick else measured(options.captures, options.seconds)
    print("\n".join(lines_of(found)))
    if options.json:
        machine = f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}"
        options.json.write_text(json.dumps({"machine": machine, **found}, indent=1))


def measured(captures: int, seconds: float) -> dict[str, Any]:
    return {
        "fresh": freshness(SMALL.name, captures),
        "server": server_figures(1000, 12, seconds),
        "followed": followed_figures(SMALL.name, seconds),
    }


def measured_quickly() -> dict[str, Any]:
    return {
        "fresh": freshness(TINY.name, 2),
        "server": server_figures(3, 2, 0.5),
        "followed": followed_figures(TINY.name, 0.5),
    }


def lines_of(found: dict[str, Any]) -> list[str]:
    fresh, server, followed = found["fresh"], found["server"], found["followed"]
    return [
        f"fresh     line to maps, {fresh['captures']} captures: median {fresh['median_s']:.2f} s, "
        f"95 % {fresh['p95_s']:.2f} s, worst {fresh['worst_s']:.2f} s; losses "
        + ("bit-identical" if fresh["bit_identical"] else "DIFFER"),
        f"server    {server['captures']} captures of {server['heads']} heads: opened in "
        f"{server['opened_s']:.2f} s, a capture {server['capture_s'] * 1e3:.0f} ms and "
        f"{server['capture_kb']:.0f} kB, {server['memory_mb']:.0f} MB (most "
        f"{server['most_mb']:.0f}), idle {server['idle_cpu']:.2%} of a core",
        f"followed  step x {followed['ratio']:.4f} ({followed['low']:.4f} … "
        f"{followed['high']:.4f}), {followed['pairs']} pairs, "
        f"{followed['followed_captures']} captures of {followed['fetched_mb']:.1f} MB fetched",
    ]


if __name__ == "__main__":
    main()
