"""The recorder: the one writer of everything that grows, in the order of the steps.

`statistics.json` of each capture, `history.jsonl`, the TensorBoard events and `summary.json`. It
answers only when what it was given is on disk.
"""

import os
import select
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Capture, Setup
from attnmon_renderer import process_messages, results
from attnmon_renderer.process_messages import ResultsWritten, RunStatus, WriteResults
from attnmon_renderer.results import Results
from attnmon_renderer.sinks import failed_captures
from attnmon_renderer.sinks.animation_and_timeline import Animations, Timeline
from attnmon_renderer.sinks.history import History
from attnmon_renderer.sinks.statistics_json import write_statistics
from attnmon_renderer.sinks.summary import Summary
from attnmon_renderer.sinks.tensorboard import TensorBoard
from attnmon_renderer.storage import atomic_files, paths, quota
from attnmon_renderer.storage.quota import DiskQuota
from attnmon_renderer.storage.run_reader import last_capture
from attnmon_renderer.storage.step_folder import StepFolder

LAST_TRIES = 20
LAST_TRY_SECONDS = 0.25


def record(channel: Channel, setup: Setup, open_ring: Callable[[], memoryview]) -> None:
    """Write what the supervisor hands over, until it closes the channel.

    The ring is opened for a capture that has to be set aside, and for nothing else.
    """
    recorder = Recorder(setup)
    try:
        while True:
            select.select([channel], [], [])
            packet = channel.receive()
            if packet is None:
                continue
            task = process_messages.decode(packet.data)
            assert isinstance(task, WriteResults)
            if task.set_aside:
                capture = _read_capture(packet.descriptors[0])
                error = recorder.set_aside(task, capture, open_ring())
            else:
                made = results.take(packet.descriptors[0]) if packet.descriptors else None
                error = recorder.write(task, made)
            if task.sequence is not None:
                full, notices = recorder.disk_is_full, recorder.take_notices()
                channel.send(
                    process_messages.encode(ResultsWritten(task.sequence, error, full, notices))
                )
    except ChannelClosed:
        recorder.close()


class Recorder:
    """The sinks of one run. What one of them cannot write does not keep the others from it."""

    def __init__(self, setup: Setup) -> None:
        save_dir = Path(setup.save_dir)
        self._save_dir = save_dir
        self._statistics_files = setup.options.statistics_files and not setup.options.pack
        history = save_dir / "history.jsonl"
        self._history = History(history)
        self._summary = Summary(save_dir / "summary.json", setup)
        self._tensorboard: TensorBoard | None = None
        if setup.options.tensorboard:
            self._tensorboard = TensorBoard(save_dir / "tensorboard", _last_step(history))
        self._tensorboard_of_kept = TensorBoard(save_dir / "tensorboard" / "kept")
        self._standing: RunStatus | None = None
        self._told = True
        """Whether that is in the summary."""
        self._disk: DiskQuota | None = None
        self._notices: list[tuple[str, str]] = []
        if setup.disk_budget is not None:
            draws = bool(setup.options.pictures or setup.options.raw_weights)
            self._disk = DiskQuota(save_dir, setup.disk_budget, draws)
        self._over_time: dict[str, Animations | Timeline] = {}
        if "animation" in setup.options.pictures:
            self._over_time["animations"] = Animations(save_dir / "animations")
        if "timeline" in setup.options.pictures:
            self._over_time["timeline"] = Timeline(save_dir)

    def write(self, task: WriteResults, made: Results | None) -> str:
        """Record a capture, or only how the run stands; says what could not be written."""
        errors: list[str] = []
        if made is not None:
            self._write_results(self._within_budget(made), task.error, errors)
        self._standing = task.standing
        before = len(errors)
        _attempt(errors, "summary.json", self._write_summary, task.standing)
        self._told = len(errors) == before
        _attempt(errors, "orphans", atomic_files.remove_orphans_of, task.orphans, self._save_dir)
        return process_messages.join_errors(errors)

    def set_aside(self, task: WriteResults, capture: Capture, ring: memoryview) -> str:
        """Keep what no worker has survived, for a report; says what could not be written."""
        errors: list[str] = []
        if self._disk is not None:
            _attempt(errors, "disk_budget", self._disk.add, paths.folder(capture))
        if self._disk is None or self._disk.has_room_for(failed_captures.size_of(capture)):
            _attempt(errors, paths.FAILED, self._keep, capture, ring)
        errors.append(self.write(task, None))
        return process_messages.join_errors(list(filter(None, errors)))

    def _keep(self, capture: Capture, ring: memoryview) -> None:
        if path := failed_captures.save_failed_capture(self._save_dir, capture, ring):
            self._notices.append(
                ("aside", failed_captures.NOTICE.format(step=capture.step, path=path))
            )

    @property
    def disk_is_full(self) -> bool:
        """Whether the disk budget has no room for pictures any more."""
        return self._disk is not None and self._disk.full

    def take_notices(self) -> tuple[tuple[str, str], ...]:
        """(kind, text) of what the user should be told."""
        notices, self._notices = self._notices, []
        return tuple(notices)

    def _within_budget(self, made: Results) -> Results:
        """Without pictures for TensorBoard, where the disk budget has no room for those."""
        if self._disk is None or self._disk.takes_events_with_pictures or not made.images:
            return made
        if not self._disk.full:
            self._notices.append(("disk_events", quota.EVENTS_ARE_FULL))
        return replace(made, images=[])

    def _write_summary(self, standing: RunStatus) -> None:
        self._summary.write(standing, None if self._disk is None else self._disk.account())

    def _write_results(self, made: Results, error: str, errors: list[str]) -> None:
        if self._statistics_files:
            place = StepFolder(self._save_dir / made.folder)
            _attempt(errors, "statistics.json", write_statistics, place, made.document)
        _attempt(errors, "history.jsonl", self._history.append, made.document, error)
        if self._tensorboard is not None:
            kept = "kept_for" in made.document["metadata"]
            events = self._tensorboard_of_kept if kept else self._tensorboard
            _attempt(errors, "TensorBoard", events.write, made)
        if not self.disk_is_full:
            for name, pictures in self._over_time.items():
                _attempt(errors, name, pictures.write, made)
        if self._disk is not None:
            _attempt(errors, "disk_budget", self._disk.add, made.folder)
            if self._disk.full:
                self._notices.append(("disk", quota.IS_FULL))

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

    def _tell_at_last(self, last: RunStatus) -> None:
        """There is no later summary to make up for this one, so a full disk is waited for."""
        for _ in range(LAST_TRIES):
            try:
                self._write_summary(last)
                return
            except OSError:
                time.sleep(LAST_TRY_SECONDS)


def _last_step(history: Path) -> int | None:
    """Of what was recorded before, by an earlier run or another recorder of this one."""
    before = last_capture(history)
    step = None if before is None else before["metadata"].get("step")
    return step if isinstance(step, int) else None


def _read_capture(descriptor: int) -> Capture:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        capture = messages.decode(file.read())
    assert isinstance(capture, Capture)
    return capture


def _cut_short(standing: RunStatus) -> RunStatus:
    """How a run stands whose supervisor has died: what it had not settled has failed."""
    trainer = standing.trainer
    failed = trainer.captured - trainer.dropped - trainer.failed - standing.rendered
    return replace(standing, state="renderer lost", failed=failed, pids=())


def _attempt(errors: list[str], what: str, write: Callable[..., None], *given: Any) -> None:
    try:
        write(*given)
    except Exception as error:
        errors.append(f"{what}: {type(error).__name__}: {error}")
