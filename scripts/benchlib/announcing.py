"""Measures announcing a record to another process: the call, against a queue's, and its latency."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from attnmon.accounting.counters import Counters
from attnmon.link import messages
from attnmon.link.channel import Channel
from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.ring import make_ring
from attnmon.session.producer import Producer

LAYERS = 12
WARM_UP = 5


def in_turns(times: int, *arms: Callable[[], object]) -> list[float]:
    """Run the arms in turns; returns the median seconds of each."""
    seconds: list[list[float]] = [[] for _ in arms]
    for turn in range(times + WARM_UP):
        for arm, found in zip(arms, seconds, strict=True):
            start = time.perf_counter()
            arm()
            if turn >= WARM_UP:
                found.append(time.perf_counter() - start)
    return [median(found) for found in seconds]


def record(sequence: int, layers: int) -> Capture:
    """Returns the message of a capture of so many layers, whose arrays are in the ring already."""
    attentions = tuple(
        Attention(
            name=f"transformer.decoder.layers.{layer}.self_attn",
            stack="decoder",
            layer=layer,
            type="self_attention",
            source="scaled_dot_product_attention",
            heads=tuple(range(8)),
            query=ArrayBlock(2 * layer << 16, "float32", (8, 32, 64)),
            key=ArrayBlock((2 * layer + 1) << 16, "float32", (8, 32, 64)),
        )
        for layer in range(layers)
    )
    now = time.monotonic()
    return Capture(
        sequence, 0, False, 1, 0.5, None, now, 0, (), attentions, Counters().as_message(0)
    )


def announcing(layers: int, times: int) -> dict[str, Any]:
    """Compare our call (slots, encoding, sending) with `multiprocessing.Queue.put`.

    Both receivers are processes that receive at once. The queue works in a thread of the training
    process, so the processor time of the whole process is compared too.
    """
    with receiver() as channel:
        producer = Producer(make_ring(), channel, Counters(), wait=True)
        ours, ours_cpu = paced(times, lambda n: announce(producer, record(n, layers)))
    context = get_context("fork")  # it need not load torch
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


def announce(producer: Producer, capture: Capture) -> None:
    producer.poll()
    with producer.new_builder() as builder:
        builder.reserve(1)
        producer.announce(capture, builder)


def paced(times: int, send: Callable[[int], object]) -> tuple[float, float]:
    """Send a message every millisecond; returns median seconds and mean CPU seconds of a call."""
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
    """A process that acknowledges each record with its arrival time, as the supervisor does."""
    ours, theirs = Channel.pair()
    program = Path(__file__).with_name("receiving.py")
    arguments = [sys.executable, str(program), str(theirs.fileno())]
    process = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
    theirs.close()
    ours.send(messages.encode(record(0, 1)))
    while ours.receive() is None:
        time.sleep(0.01)
    yield ours
    ours.close()
    process.wait()


def latencies(times: int) -> dict[str, float]:
    """Measure the time from before a record is sent until the receiver has it."""
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
