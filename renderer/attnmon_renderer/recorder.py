"""The recorder: the only writer of files that grow, in the order of the steps.

It writes `statistics.json` of each capture, `history.jsonl`, the TensorBoard events, animations,
the timeline and `summary.json`, and answers when what it was given is on disk.
"""

import os
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon.link import directory_lock, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Capture
from attnmon.link.records.alert import Alert
from attnmon.link.records.run_setup import Setup
from attnmon_renderer import process_messages
from attnmon_renderer.insight.alarmed_steps import AlarmedSteps
from attnmon_renderer.insight.alert_log import FILE as ALERTS
from attnmon_renderer.insight.rule_table import rules_of
from attnmon_renderer.insight.run_alerts import RunAlerts
from attnmon_renderer.mirror.upload_status import read_status
from attnmon_renderer.mirror.uploaded_names import UploadedNames
from attnmon_renderer.model_ranks import rank_file
from attnmon_renderer.process_messages import (
    BeginRecords,
    RecordsBegun,
    ResultsWritten,
    RunStatus,
    WriteResults,
)
from attnmon_renderer.results import Results, read_from_descriptor
from attnmon_renderer.sinks import failed_captures
from attnmon_renderer.sinks.animation_and_timeline import Animations, Timeline
from attnmon_renderer.sinks.history import History
from attnmon_renderer.sinks.put_off import PutOff
from attnmon_renderer.sinks.run_json import RunDescription
from attnmon_renderer.sinks.statistics_json import StatisticsText, write_statistics
from attnmon_renderer.sinks.summary import Summary
from attnmon_renderer.sinks.tensorboard import TensorBoard
from attnmon_renderer.storage import atomic_files, earlier_runs, paths, regular_files
from attnmon_renderer.storage.budget import quota
from attnmon_renderer.storage.budget.quota import DiskQuota
from attnmon_renderer.storage.records import last_capture, read_summary
from attnmon_renderer.storage.step_folder import StepFolder

SUMMARY_SECONDS = 0.5
"""The least time from one summary to the next, where captures follow each other quickly."""
MOST_ALERTS = 50
"""Alerts that are told of one capture; the others are in the file."""
LAST_SUMMARY_TRIES = 20
MIRROR_NOTICE = (
    "mirror={url!r}: {last_error}. Training and the local files are not concerned; mirror in "
    "summary.json tells how it goes on."
)
RETRY_SECONDS = 0.25


def run_recorder(channel: Channel, setup: Setup, open_ring: Callable[[], memoryview]) -> None:
    """Write what the supervisor sends, until it closes the channel.

    Args:
        open_ring: maps the ring. Called only for a capture that no worker survived.
    """
    recorder = Recorder(setup)
    before = time.process_time()
    try:
        while True:
            select.select([channel], [], [], recorder.seconds_left)
            packet = channel.receive()
            if packet is None:
                recorder.catch_up()
                continue
            task = process_messages.decode(packet.data)
            if isinstance(task, BeginRecords):
                channel.send(process_messages.encode(RecordsBegun(recorder.begin(task.step))))
                continue
            assert isinstance(task, WriteResults)
            if task.save_capture:
                capture = _read_capture(packet.descriptors[0])
                error = recorder.save_capture(task, capture, open_ring())
            else:
                results = (
                    read_from_descriptor(packet.descriptors[0]) if packet.descriptors else None
                )
                error = recorder.write(task, results)
            if task.sequence is not None:
                used = time.process_time()
                full, notices = recorder.disk_is_full, recorder.take_notices()
                alerts = recorder.take_alerts()
                written = ResultsWritten(task.sequence, error, full, notices, alerts, used - before)
                channel.send(process_messages.encode(written))
                before = used
    except ChannelClosed:
        recorder.close()


class Recorder:
    """The sinks of one run. When one of them fails, the others are written all the same."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._save_dir = save_dir = regular_files.resolved(setup.save_dir)
        for folder in (save_dir, save_dir / "animations"):
            atomic_files.remove_orphans(folder)
        self._statistics_files = setup.options.statistics_files and not setup.options.pack
        self._summary = Summary(save_dir / "summary.json", setup)
        if not setup.may_hold_run:
            earlier_runs.go_on(save_dir)  # what is kept there is of a run that has no history
        elif _is_another_s(save_dir / "summary.json", setup):
            directory_lock.keep_summary(save_dir)
        self._status: RunStatus | None = None
        self._summary_writing = PutOff(SUMMARY_SECONDS)
        """When the summary is to hold `_status`."""
        self._told_mirror_error = False
        self._told_rank = setup.model_place is None
        self._notices: list[tuple[str, str]] = []
        self._changed: list[Alert] = []
        self._open_sinks()

    def _open_sinks(self) -> None:
        """Open what goes on from what the directory holds."""
        setup, save_dir = self._setup, self._save_dir
        history = save_dir / "history.jsonl"
        self._history = History(history)
        self._run_description = RunDescription(save_dir / "run.json", setup)
        self._alerts = RunAlerts(save_dir, rules_of(setup.alerts))
        self._tensorboard: TensorBoard | None = None
        if setup.options.tensorboard:
            self._tensorboard = TensorBoard(save_dir / "tensorboard", _last_step(history))
        self._tensorboard_of_dumps = TensorBoard(save_dir / "tensorboard" / "kept")
        self._quota: DiskQuota | None = None
        if setup.disk_budget is not None:
            options = setup.options
            draws = bool(options.pictures or options.raw_weights or options.maps == "all")
            alarmed = AlarmedSteps(save_dir)
            elsewhere = _everything if setup.mirror is None else UploadedNames(save_dir).may_go
            self._quota = DiskQuota(save_dir, setup.disk_budget, draws, alarmed, elsewhere)
        pictures = setup.options.pictures
        self._animations = Animations(save_dir / "animations") if "animation" in pictures else None
        self._timeline = Timeline(save_dir) if "timeline" in pictures else None

    def begin(self, step: int) -> str:
        """Prepare the directory for a run whose first capture is of this step; return the errors.

        Nothing is written into it before but the summary.
        """
        errors: list[str] = []
        if earlier_runs.is_new_run(self._save_dir / "history.jsonl", step):
            _attempt(errors, "an earlier run", self._set_aside)
        else:
            earlier_runs.go_on(self._save_dir)
        return process_messages.join_errors(errors)

    def _set_aside(self) -> None:
        moved = earlier_runs.set_aside(self._save_dir)
        text = f"{self._save_dir} held an earlier run, which is now in {moved.name} below it."
        self._notices.append(("earlier run", text))
        self._open_sinks()

    def write(self, task: WriteResults, results: Results | None) -> str:
        """Write a capture's results, if there are any, and the status; return the errors."""
        errors: list[str] = []
        if results is not None:
            self._write_results(self._within_budget(results), task.error, errors)
        self._status = task.status
        self._summary_writing.ask()
        if results is None or self._summary_writing.seconds_left == 0:
            self._try_summary(errors)
        _attempt(
            errors, "orphans", atomic_files.remove_orphans_of, task.dead_writers, self._save_dir
        )
        return process_messages.join_errors(errors)

    def save_capture(self, task: WriteResults, capture: Capture, ring: memoryview) -> str:
        """Save a capture that no worker survived, for a bug report; return the errors."""
        errors: list[str] = []
        if self._quota is not None:
            _attempt(errors, "disk_budget", self._quota.add, paths.folder(capture))
        if self._quota is None or self._quota.has_room_for(failed_captures.array_bytes(capture)):
            _attempt(errors, paths.FAILED_FOLDER, self._save_failed_capture, capture, ring)
        errors.append(self.write(task, None))
        return process_messages.join_errors(list(filter(None, errors)))

    def _save_failed_capture(self, capture: Capture, ring: memoryview) -> None:
        if path := failed_captures.save_failed_capture(self._save_dir, capture, ring):
            self._notices.append(
                ("aside", failed_captures.NOTICE.format(step=capture.step, path=path))
            )

    @property
    def disk_is_full(self) -> bool:
        """Whether the disk budget has no room for any more pictures."""
        return self._quota is not None and self._quota.full

    @property
    def seconds_left(self) -> float | None:
        """Time until there is something to catch up with; None if there is nothing."""
        waits = self._summary_writing.seconds_left, self._seconds_to_timeline
        return min((wait for wait in waits if wait is not None), default=None)

    def catch_up(self) -> None:
        """Write what was put off because captures follow each other quickly, and is due now."""
        if self._summary_writing.seconds_left == 0:
            self._try_summary([])  # if it fails, it is tried again and told of by a later capture
        if self._seconds_to_timeline == 0:
            self._draw_timeline()

    @property
    def _seconds_to_timeline(self) -> float | None:
        if self._timeline is None or self.disk_is_full:
            return None
        return self._timeline.seconds_left

    def _try_summary(self, errors: list[str]) -> None:
        before = len(errors)
        self._summary_writing.begin()
        _attempt(errors, "summary.json", self._write_summary, self._status)
        if len(errors) > before:
            self._summary_writing.ask()

    def _draw_timeline(self) -> list[str]:
        """Draw it at another time than that of a capture; return the errors, which are told."""
        errors: list[str] = []
        if self._timeline is not None:
            _attempt(errors, "the timeline could not be drawn", self._timeline.draw)
        self._notices += [("timeline", error) for error in errors]
        return errors

    def take_notices(self) -> tuple[tuple[str, str], ...]:
        """Return, once, (kind, text) of what the user should be told."""
        notices, self._notices = self._notices, []
        return tuple(notices)

    def take_alerts(self) -> tuple[Alert, ...]:
        """Return, once, the alerts that the last capture has changed."""
        changed, self._changed = self._changed, []
        return tuple(changed[:MOST_ALERTS])

    def _within_budget(self, results: Results) -> Results:
        """Drop the pictures for TensorBoard where the disk budget has no room for them."""
        if self._quota is None or self._quota.has_room_for_event_pictures or not results.images:
            return results
        if not self._quota.full:
            self._notices.append(("disk_events", quota.EVENTS_FULL_NOTICE))
        return replace(results, images=[])

    def _write_summary(self, status: RunStatus) -> None:
        disk = None if self._quota is None else self._quota.account()
        self._summary.write(status, disk=disk, mirror=self._mirror_account())

    def _mirror_account(self) -> dict[str, Any] | None:
        """Return how the uploads stand; None without a mirror. A trouble is told once."""
        if self._setup.mirror is None or (status := read_status(self._save_dir)) is None:
            return None
        if status.last_error and not self._told_mirror_error:
            self._told_mirror_error = True
            self._notices.append(("mirror", MIRROR_NOTICE.format(**status.figures())))
        return status.figures()

    def _write_results(self, results: Results, error: str, errors: list[str]) -> None:
        text = StatisticsText(results)
        if self._statistics_files:
            folder = StepFolder(self._save_dir / results.folder)
            _attempt(errors, "statistics.json", write_statistics, folder, text)
        _attempt(errors, "history.jsonl", self._history.append, results, text, error)
        _attempt(errors, ALERTS, self._judge, text, results)
        _attempt(errors, "run.json", self._run_description.write, results)
        if not self._told_rank:
            self._told_rank = True
            _attempt(errors, rank_file.NAME, rank_file.write_rank, self._save_dir, self._setup)
        if self._tensorboard is not None:
            events = self._tensorboard_of_dumps if results.retained else self._tensorboard
            _attempt(errors, "TensorBoard", events.write, results)
        if self._animations is not None and not self.disk_is_full:
            _attempt(errors, "animations", self._animations.write, results)
        if self._timeline is not None and not self.disk_is_full:
            _attempt(errors, "timeline", self._timeline.write, results)
        if self._quota is not None:
            _attempt(errors, "disk_budget", self._quota.add, results.folder)
            if self._quota.full:
                self._notices.append(("disk", quota.DISK_FULL_NOTICE))

    def _judge(self, text: StatisticsText, results: Results) -> None:
        changed = self._alerts.judge(text.capture, results.folder)
        self._changed += changed
        if self._tensorboard is not None and changed:
            self._tensorboard.write_alerts(changed, results.timestamp)

    def close(self) -> None:
        """Write the last summary, if it is not written, and close the sinks.

        If the last status does not say how the run ended, the supervisor has died.
        """
        errors = [] if self._seconds_to_timeline is None else self._draw_timeline()
        last = self._status
        is_written = self._summary_writing.seconds_left is None
        if last is not None and last.state in ("running", "finishing"):
            last, is_written = _status_without_supervisor(last), False
        if last is not None and (errors or not is_written):
            self._write_last_summary(replace(last, errors=(*last.errors, *errors)))
        if self._tensorboard is not None:
            self._tensorboard.close()
            self._tensorboard_of_dumps.close()

    def _write_last_summary(self, last: RunStatus) -> None:
        """Write the summary; wait for room on a full disk, since no later one makes up for it."""
        for _ in range(LAST_SUMMARY_TRIES):
            try:
                self._write_summary(last)
                return
            except OSError:
                time.sleep(RETRY_SECONDS)


def _everything(sizes: Mapping[str, int]) -> bool:
    """Without a mirror any picture may be removed for space."""
    return True


def _last_step(history: Path) -> int | None:
    """Return the last step recorded before, by an earlier run or another recorder of this one."""
    before = last_capture(history)
    return None if before is None else int(before["metadata"]["step"])


def _is_another_s(summary: Path, setup: Setup) -> bool:
    """Return whether there is a summary that an earlier training has left."""
    try:
        left = read_summary(summary).fields
    except (OSError, ValueError):
        return False
    # Both: a process id is given out again, to the same training in another container for one.
    return (left.get("trainer_pid"), left.get("started")) != (setup.trainer_pid, setup.started)


def _read_capture(descriptor: int) -> Capture:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        capture = messages.decode(file.read())
    assert isinstance(capture, Capture)
    return capture


def _status_without_supervisor(status: RunStatus) -> RunStatus:
    """Return the last status of a run whose supervisor died: what was not settled has failed."""
    trainer = status.trainer
    failed = trainer.captured - trainer.dropped - trainer.failed - status.rendered
    off = status.remarks.off or "the renderer's supervisor has died"
    remarks = replace(status.remarks, off=off)
    return replace(status, state="renderer lost", failed=failed, pids=(), remarks=remarks)


def _attempt(errors: list[str], what: str, write: Callable[..., None], *given: Any) -> None:
    try:
        write(*given)
    except Exception as error:
        errors.append(f"{what}: {type(error).__name__}: {error}")
