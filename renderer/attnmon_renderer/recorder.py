"""The recorder: the one writer of everything that grows, in the order of the steps.

`statistics.json` of each capture, `history.jsonl`, the TensorBoard events and `summary.json`. It
answers only when what it was given is on disk.
"""

import select
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Setup
from attnmon_renderer import files, results, tasks
from attnmon_renderer.results import Results
from attnmon_renderer.sinks.history import History
from attnmon_renderer.sinks.over_time import Animations, Timeline
from attnmon_renderer.sinks.pictures import Folder
from attnmon_renderer.sinks.statistics import write_statistics
from attnmon_renderer.sinks.summary import Summary
from attnmon_renderer.sinks.tensorboard import TensorBoard
from attnmon_renderer.tasks import Record, Recorded, Standing

LAST_TRIES = 20
LAST_TRY_SECONDS = 0.25


def record(channel: Channel, setup: Setup) -> None:
    """Write what the supervisor hands over, until it closes the channel."""
    recorder = Recorder(setup)
    try:
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is None:
                continue
            task = tasks.decode(packet.data)
            assert isinstance(task, Record)
            made = results.take(packet.descriptors[0]) if packet.descriptors else None
            error = recorder.write(task, made)
            if task.sequence is not None:
                channel.send(tasks.encode(Recorded(task.sequence, error)))
    except ChannelClosed:
        recorder.close()


class Recorder:
    """The sinks of one run. What one of them cannot write does not keep the others from it."""

    def __init__(self, setup: Setup) -> None:
        save_dir = Path(setup.save_dir)
        self._save_dir = save_dir
        self._statistics_files = setup.statistics_files and not setup.pack
        self._history = History(save_dir / "history.jsonl")
        self._summary = Summary(save_dir / "summary.json", setup)
        self._tensorboard = TensorBoard(save_dir / "tensorboard") if setup.tensorboard else None
        self._tensorboard_of_kept = TensorBoard(save_dir / "tensorboard" / "kept")
        self._standing: Standing | None = None
        self._told = True
        """Whether that is in the summary."""
        self._over_time: dict[str, Animations | Timeline] = {}
        if "animation" in setup.pictures:
            self._over_time["animations"] = Animations(save_dir / "animations")
        if "timeline" in setup.pictures:
            self._over_time["timeline"] = Timeline(save_dir)

    def write(self, task: Record, made: Results | None) -> str:
        """Record a capture, or only how the run stands; says what could not be written."""
        errors: list[str] = []
        if made is not None:
            self._write_results(made, task.error, errors)
        self._standing = task.standing
        before = len(errors)
        _attempt(errors, "summary.json", self._summary.write, task.standing)
        self._told = len(errors) == before
        _attempt(errors, "orphans", files.remove_orphans_of, task.orphans, self._save_dir)
        return tasks.in_a_line(errors)

    def _write_results(self, made: Results, error: str, errors: list[str]) -> None:
        if self._statistics_files:
            place = Folder(self._save_dir / made.folder)
            _attempt(errors, "statistics.json", write_statistics, place, made.document)
        _attempt(errors, "history.jsonl", self._history.append, made.document, error)
        if self._tensorboard is not None:
            kept = "kept_for" in made.document["metadata"]
            events = self._tensorboard_of_kept if kept else self._tensorboard
            _attempt(errors, "TensorBoard", events.write, made)
        for name, pictures in self._over_time.items():
            _attempt(errors, name, pictures.write, made)

    def close(self) -> None:
        """The end; when nobody has said how the run ended, the supervisor was lost."""
        last = self._standing
        if last is not None and last.state in ("running", "finishing"):
            last, self._told = _cut_short(last), False
        if last is not None and not self._told:
            self._tell_at_last(last)
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard_of_kept.close()

    def _tell_at_last(self, last: Standing) -> None:
        """There is no later summary to make up for this one, so a full disk is waited for."""
        for _ in range(LAST_TRIES):
            try:
                self._summary.write(last)
                return
            except OSError:
                time.sleep(LAST_TRY_SECONDS)


def _cut_short(standing: Standing) -> Standing:
    """How a run stands whose supervisor has died: what it had not settled has failed."""
    trainer = standing.trainer
    failed = trainer.captured - trainer.dropped - trainer.failed - standing.rendered
    return replace(standing, state="renderer lost", failed=failed, pids=())


def _attempt(errors: list[str], what: str, write: Callable[..., None], *given: Any) -> None:
    try:
        write(*given)
    except Exception as error:
        errors.append(f"{what}: {type(error).__name__}: {error}")
