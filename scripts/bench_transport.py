"""What the way from the training process to the renderer costs.

    python scripts/bench_transport.py [--quick] [--json FILE]

Copying into the ring against memcpy and torch into ordinary memory, in turns; announcing a record
against `multiprocessing.Queue`; how soon the other process has it; what a renderer with nothing to
do takes; and what a monitor takes of the training process's memory. Times are medians.
"""

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from monitoring_designs import cpu_seconds

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Attention, Block, Capture
from attnmon.link.ring import MEBIBYTE, make_ring
from attnmon.outbox import Outbox, Tally
from attnmon.reduce import RingWriter

LAYERS = 12
WARM_UP = 5
RING_BYTES = 80 * MEBIBYTE


def in_turns(times: int, *arms: Callable[[], object]) -> list[float]:
    """Median seconds of each."""
    seconds: list[list[float]] = [[] for _ in arms]
    for turn in range(times + WARM_UP):
        for arm, found in zip(arms, seconds, strict=True):
            start = time.perf_counter()
            arm()
            if turn >= WARM_UP:
                found.append(time.perf_counter() - start)
    return [median(found) for found in seconds]


# -- copying ---------------------------------------------------------------------------------------


def copies(quick: bool) -> Iterator[dict[str, Any]]:
    """Of one array into the ring, by the function that captures use."""
    ours, theirs = Channel.pair()
    outbox = Outbox(make_ring(RING_BYTES), ours, Tally())
    writer = RingWriter(outbox.ring)
    for kib in (64, 1024, 4096) if quick else (64, 256, 1024, 4096, 16384, 65536):
        source = torch.rand(1, kib * 256)
        there = torch.empty_like(source)
        nbytes = kib * 1024

        def into_ring(source: torch.Tensor = source) -> None:
            with outbox.draft() as draft:
                writer.write({"query": source}, draft)

        def memcpy(source: torch.Tensor = source, there: torch.Tensor = there) -> None:
            ctypes.memmove(there.data_ptr(), source.data_ptr(), source.nbytes)

        def by_torch(source: torch.Tensor = source, there: torch.Tensor = there) -> None:
            there.copy_(source)

        times = max(10, min(500, (16 if quick else 512) * 1024 // kib))
        ring, plain, torchs = in_turns(times, into_ring, memcpy, by_torch)
        yield {
            "kib": kib,
            "ring_gb_per_s": nbytes / ring / 1e9,
            "memcpy_gb_per_s": nbytes / plain / 1e9,
            "torch_gb_per_s": nbytes / torchs / 1e9,
            "ratio": plain / ring,
            "ratio_to_torch": torchs / ring,
        }
    outbox.forget()
    theirs.close()


# -- announcing ------------------------------------------------------------------------------------


def record(sequence: int, layers: int) -> Capture:
    """A capture of so many layers, as it is announced; its arrays are in the ring already."""
    attentions = tuple(
        Attention(
            name=f"transformer.decoder.layers.{layer}.self_attn",
            stack="decoder",
            layer=layer,
            type="self_attention",
            source="scaled_dot_product_attention",
            heads=tuple(range(8)),
            query=Block(2 * layer << 16, "float32", (8, 32, 64)),
            key=Block((2 * layer + 1) << 16, "float32", (8, 32, 64)),
        )
        for layer in range(layers)
    )
    now = time.monotonic()
    return Capture(sequence, 0, False, 1, 0.5, None, now, 0, (), attentions, Tally().as_message(0))


def announcing(layers: int, times: int) -> dict[str, Any]:
    """Bookkeeping of slots, encoding and sending, until the call returns; and `Queue.put`.

    Both receivers are processes that take what comes at once. The queue does its work in a thread
    of the training process, so its processor time counts, and ours beside it.
    """
    with receiver() as channel:
        outbox = Outbox(make_ring(), channel, Tally(), wait=True)
        ours, ours_cpu = paced(times, lambda n: announce(outbox, record(n, layers)))
    context = get_context("spawn")
    queue = context.Queue()
    reader = context.Process(target=drain, args=(queue,))
    reader.start()
    theirs, theirs_cpu = paced(times, lambda n: queue.put(record(n, layers)))
    queue.put(None)
    reader.join()
    making = in_turns(times, lambda: record(0, layers))[0]
    return {
        "layers": layers,
        "announce_us": 1e6 * (ours - making),
        "announce_cpu_us": 1e6 * (ours_cpu - making),
        "queue_put_us": 1e6 * (theirs - making),
        "queue_cpu_us": 1e6 * (theirs_cpu - making),
        "record_us": 1e6 * making,
        "ratio": (theirs_cpu - making) / (ours_cpu - making),
    }


def announce(outbox: Outbox, capture: Capture) -> None:
    outbox.collect()
    with outbox.draft() as draft:
        draft.lend(1)
        outbox.announce(capture, draft)


def paced(times: int, send: Callable[[int], object]) -> tuple[float, float]:
    """Median seconds of a call and mean processor time of the process, a message a millisecond."""
    found = []
    before, slept = time.process_time(), 0.0
    for number in range(times):
        start = time.perf_counter()
        send(number)
        found.append(time.perf_counter() - start)
        asleep = time.thread_time()
        time.sleep(0.001)
        slept += time.thread_time() - asleep
    return median(found), (time.process_time() - before - slept) / times


def drain(queue: Any) -> None:
    while queue.get() is not None:
        pass


@contextmanager
def receiver() -> Iterator[Channel]:
    """A process at the renderer's priority that acknowledges each record with the time it came."""
    ours, theirs = Channel.pair()
    arguments = [sys.executable, __file__, "--receive", str(theirs.fileno())]
    process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
    theirs.close()
    ours.send(messages.encode(record(0, 1)))
    while ours.receive() is None:
        time.sleep(0.01)
    yield ours
    ours.close()
    process.wait()


def receive(descriptor: int) -> None:
    """The other end of `receiver`."""
    import select

    from attnmon_renderer.priority import yield_to_training

    yield_to_training()
    channel = Channel.from_descriptor(descriptor)
    try:
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is not None:
                arrived = time.monotonic()
                capture = messages.decode(packet.data)
                assert isinstance(capture, Capture)
                answer = messages.Acknowledgement(capture.sequence, str(arrived))
                channel.send(messages.encode(answer))
    except ChannelClosed:
        pass


def latencies(times: int) -> dict[str, float]:
    """From before a record is sent to when the receiver has it."""
    found = []
    with receiver() as channel:
        for number in range(times):
            capture = record(number, LAYERS)
            sent = time.monotonic()
            channel.send(messages.encode(capture))
            while (packet := channel.receive()) is None:
                time.sleep(0.0005)
            answer = messages.decode(packet.data)
            assert isinstance(answer, messages.Acknowledgement)
            found.append(float(answer.error) - sent)
    return {"median_us": 1e6 * median(found), "p99_us": 1e6 * float(np.percentile(found, 99))}


# -- the monitor -----------------------------------------------------------------------------------


def construction(times: int) -> dict[str, float]:
    found = []
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
            start = time.perf_counter()
            monitor = TrainingAttentionMonitor(folder)
            found.append(time.perf_counter() - start)
            monitor.close()
    return {"median_ms": 1e3 * median(found), "worst_ms": 1e3 * max(found)}


def idle_renderer(seconds: float) -> dict[str, float]:
    """Processor time it takes with nothing to do, after a capture."""
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
    """Of the training process: over the ring's size, and how it grows from capture to capture."""
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        before = resident_bytes()
        with LightweightAttentionMonitor(folder, 1, on_full="wait", max_overhead=None) as monitor:
            log_tiny(monitor, 0)
            ring = monitor._handover._outbox.ring.nbytes  # type: ignore[union-attr]
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
    while monitor._handover.accounts()["pending"]:
        time.sleep(0.05)
        monitor._handover.collect()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# -- report ----------------------------------------------------------------------------------------


def measured(quick: bool) -> dict[str, Any]:
    times = 100 if quick else 2000
    return {
        "copies": list(copies(quick)),
        "announcing": [announcing(layers, times) for layers in (1, LAYERS)],
        "latency": latencies(times),
        "construction": construction(2 if quick else 20),
        "idle_renderer": idle_renderer(0.5 if quick else 20.0),
        "memory": memory(100 if quick else 10_000),
    }


def report(found: dict[str, Any]) -> None:
    for row in found["copies"]:
        print(
            f"copy of {row['kib']:6} KiB: ring {row['ring_gb_per_s']:5.1f} GB/s, memcpy "
            f"{row['memcpy_gb_per_s']:5.1f} ({row['ratio']:.2f}), torch "
            f"{row['torch_gb_per_s']:5.1f} ({row['ratio_to_torch']:.2f})"
        )
    for row in found["announcing"]:
        print(
            f"announcing {row['layers']:2} layers: {row['announce_us']:.1f} µs (processor "
            f"{row['announce_cpu_us']:.1f}); multiprocessing.Queue {row['queue_put_us']:.1f} µs "
            f"(processor {row['queue_cpu_us']:.1f}, {row['ratio']:.1f} times ours)"
        )
    for name in ("latency", "construction", "idle_renderer", "memory"):
        values = ", ".join(f"{key} {value:.4g}" for key, value in found[name].items())
        print(f"{name.replace('_', ' ')}: {values}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer sizes, fewer times")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive is not None:
        receive(options.receive)
        return
    torch.set_num_threads(1)
    found = measured(options.quick)
    report(found)
    if options.json:
        found = {"machine": f"{platform.platform()}, torch {torch.__version__}", **found}
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
