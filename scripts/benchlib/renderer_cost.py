"""Measures what one small capture costs in the renderer, process by process, and in TensorBoard."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from attnmon.link import messages
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import RunStatus, WriteResults
from attnmon_renderer.recorder import Recorder
from attnmon_renderer.results import Results, read_from_descriptor, write_to_descriptor
from attnmon_renderer.sinks.tensorboard import TensorBoard
from attnmon_renderer.worker import process_capture
from benchlib import small_capture

T = TypeVar("T")
WARM_UP = 5
EVENTS = 100


def renderer_cost(folder: Path, times: int) -> dict[str, float | None]:
    """Return milliseconds of processor time, by what is done, and the seconds of reading events.

    times: how often each thing is done.
    """
    statistics = small_capture.setup(str(folder / "statistics"), statistics_files=False)
    pictures = small_capture.setup(str(folder / "pictures"), pictures=small_capture.PICTURES)
    statistics_ms, analysed = worker(statistics, times)
    pictures_ms, drawn = worker(pictures, times)
    return {
        "supervisor_decodes_ms": cpu_milliseconds(message, messages.decode, times),
        "worker_statistics_ms": statistics_ms,
        "recorder_statistics_ms": recorder(statistics, analysed, times),
        "worker_pictures_ms": pictures_ms,
        "recorder_pictures_ms": recorder(pictures, drawn, times),
        "card_bytes": sum(len(image.png) for image in drawn.images) / len(drawn.images),
        "largest_card_bytes": max(len(image.png) for image in drawn.images),
        "events_read_s": events_read(folder / "events", drawn),
    }


def cpu_milliseconds(prepare: Callable[[int], T], do: Callable[[T], Any], times: int) -> float:
    """Return the median processor time of calls with what is prepared for each."""
    found = []
    for number in range(times + WARM_UP):
        given = prepare(number)
        start = time.process_time()
        do(given)
        found.append(time.process_time() - start)
    return 1e3 * median(found[WARM_UP:])


def message(number: int) -> bytes:
    """Return a capture's message. Of the supervisor only its decoding is measured."""
    return messages.encode(small_capture.capture(number))


def worker(setup: Setup, times: int) -> tuple[float, Results]:
    """Measure a worker, from the message to the descriptor of its results; return these as well."""
    ring = small_capture.ring()
    latest: list[Results] = []

    def draw(packed: bytes) -> None:
        capture = messages.decode(packed)
        assert isinstance(capture, messages.Capture)
        drawn, results = process_capture(capture, setup, ring)
        assert not drawn.error, drawn.error
        assert results is not None
        os.close(write_to_descriptor(results))
        latest[:] = [results]

    return cpu_milliseconds(message, draw, times), latest[0]


def recorder(setup: Setup, results: Results, times: int) -> float:
    """Measure the recorder, from a task and its descriptor to what is on disk."""
    writer = Recorder(setup)

    def task(number: int) -> tuple[bytes, int]:
        status = RunStatus(Accounts(captured=number), number, 0, "running", (1,), ())
        one = replace(results, step=number, timestamp=1.7e9 + number, folder=f"step_{number}")
        return process_messages.encode(WriteResults(status, number)), write_to_descriptor(one)

    def write(given: tuple[bytes, int]) -> None:
        packed, descriptor = given
        wanted = process_messages.decode(packed)
        assert isinstance(wanted, WriteResults)
        error = writer.write(wanted, read_from_descriptor(descriptor))
        assert not error, error

    return cpu_milliseconds(task, write, times)


def events_read(folder: Path, results: Results) -> float | None:
    """Return the processor seconds that TensorBoard's own reader takes for `EVENTS` captures.

    None where TensorBoard is not installed.
    """
    try:
        from tensorboard.backend.event_processing import (  # type: ignore[import-untyped]
            event_accumulator,
        )
    except ImportError:
        return None
    events = TensorBoard(folder)
    for step in range(EVENTS):
        events.write(replace(results, step=step, timestamp=1.7e9 + step))
    events.close()
    start = time.process_time()
    event_accumulator.EventAccumulator(str(folder), {"images": 4, "scalars": 0}).Reload()
    return time.process_time() - start
