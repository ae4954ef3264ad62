"""Measures what a monitor takes: construction time, memory, and time of an idle renderer."""

import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link.ring import MEBIBYTE
from benchlib.monitoring_designs import cpu_seconds


def construction(times: int) -> dict[str, float]:
    """Measure how long it takes to construct a monitor."""
    seconds = []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
            start = time.perf_counter()
            monitor = TrainingAttentionMonitor(folder)
            seconds.append(time.perf_counter() - start)
            monitor.close()
    return {"median_ms": 1e3 * median(seconds), "worst_ms": 1e3 * max(seconds)}


def idle_renderer(seconds: float) -> dict[str, float]:
    """Measure the processor time of a renderer that has nothing to do, after a capture."""
    with (
        tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder,
        TrainingAttentionMonitor(folder) as monitor,
    ):
        log_tiny(monitor, 0)
        await_drawing(monitor)
        time.sleep(0.5)
        pids = json.loads(Path(folder, "summary.json").read_text())["pids"]
        before = sum(map(cpu_seconds, pids))
        time.sleep(seconds)
        spent = sum(map(cpu_seconds, pids)) - before
    return {"seconds": seconds, "cpu_ms": 1e3 * spent, "processes": len(pids)}


def memory(captures: int) -> dict[str, float]:
    """Measure the training process's memory beyond the ring, and its growth per capture."""
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        before = resident_bytes()
        with LightweightAttentionMonitor(folder, 1, on_full="wait", max_overhead=None) as monitor:
            log_tiny(monitor, 0)
            ring = monitor._session._producer.ring.reserved  # type: ignore[union-attr]
            over_ring = resident_bytes() - before - ring
            found = []
            for step in range(1, captures):
                log_tiny(monitor, step)
                if step % max(1, captures // 100) == 0:
                    found.append((step, resident_bytes()))
    steps, resident = np.array(found[len(found) // 2 :], dtype=np.float64).T
    return {
        "ring_mib": ring / MEBIBYTE,
        "over_ring_mib": over_ring / MEBIBYTE,
        "captures": captures,
        "bytes_per_capture": float(np.polyfit(steps, resident, 1)[0]),
    }


def log_tiny(monitor: TrainingAttentionMonitor | LightweightAttentionMonitor, step: int) -> None:
    monitor.record("encoder.0", weights=torch.full((1, 1, 4, 4), 0.25))
    monitor.log_attention(step=step)


def await_drawing(monitor: TrainingAttentionMonitor) -> None:
    while monitor._session.accounts()["pending"]:
        time.sleep(0.05)
        monitor._session.poll()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
