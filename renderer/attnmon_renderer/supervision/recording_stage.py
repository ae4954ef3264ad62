"""The recording stage: hands drawn captures to the recorder, in order, and acknowledges them."""

import os
import selectors
import time
from collections.abc import Callable
from dataclasses import replace

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon.link.messages import Acknowledgement
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import (
    LONGEST_ERROR,
    BeginRecords,
    RecordsBegun,
    ResultsWritten,
    WriteResults,
)
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.ledger import MOST_TRIES, Entry
from attnmon_renderer.supervision.run_state import RunState, describe_failure
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW, NewPool

_BEGINNING = -1
"""The number of a recorder's task that belongs to no capture: to begin the records."""
LAST_SUMMARY_SECONDS = 30.0
"""How long a recorder may take to write the last summary and end."""


class RecordingStage:
    """The recorder, and the captures that wait for it.

    Args:
        may_hold_run: whether the directory may hold an earlier run.
        acknowledge: tells the training process that a capture is settled.
        on_disk_full: called when the disk budget has no room for pictures any more.
    """

    def __init__(
        self,
        run: RunState,
        new_pool: NewPool,
        may_hold_run: bool,
        acknowledge: Callable[[Acknowledgement], None],
        on_disk_full: Callable[[], None],
    ) -> None:
        self.pool = new_pool(self._recorded, self._recorder_lost)
        self.has_begun = not may_hold_run
        """Whether the directory is ready for what captures write."""
        self._run = run
        self._acknowledge = acknowledge
        self._on_disk_full = on_disk_full
        run.pools.append(self.pool)

    def hand_out(self) -> None:
        """Give the next drawn capture, or else a changed status, to a recorder that is free."""
        recorder = self.pool.get_idle()
        if recorder is None:
            self._settle_unrecorded()
        elif not self.has_begun and self._run.first_step is not None:
            recorder.assign(_BEGINNING)
            message = BeginRecords(self._run.first_step)
            self.pool.send(recorder, process_messages.encode(message))
        elif (entry := self._run.ledger.next_to_record()) is not None:
            self._run.ledger.start_recording(entry)
            recorder.assign(entry.sequence)
            task = WriteResults(
                self._run.status_after(entry),
                entry.sequence,
                entry.error,
                save_capture=entry.holds_message,
            )
            self._send(recorder, task, (entry.descriptor,) if entry.descriptor >= 0 else ())
        elif self._run.has_changed:
            self._send(recorder, WriteResults(self._run.status()))
            self._run.has_changed = False

    def close(self, dead_writers: tuple[int, ...]) -> None:
        """Have a recorder write the last summary, and wait for its end.

        Args:
            dead_writers: process ids of other writers that died, whose temporary files are to go.
        """
        self.pool.reset_deaths()  # the accounts are to be written even after a crash loop
        for _ in range(MOST_DEATHS_IN_A_ROW):
            recorder = self.pool.get_idle()
            if recorder is None or self._write_last_summary(recorder, dead_writers):
                break

    def _write_last_summary(self, recorder: Child, dead_writers: tuple[int, ...]) -> bool:
        last = replace(self._run.status(), state=self._run.end_state, pids=())
        orphans = (*dead_writers, *self.pool.lost_pids)
        self._send(recorder, WriteResults(last, dead_writers=orphans))
        recorder.channel.end_sending()
        _wait_until_closed(recorder.channel)
        self.pool.dismiss(recorder)
        return recorder.exit_code == 0

    def _send(self, recorder: Child, task: WriteResults, descriptors: tuple[int, ...] = ()) -> None:
        self.pool.send(recorder, process_messages.encode(task), descriptors)

    def _settle_unrecorded(self) -> None:
        self.has_begun |= self.pool.exhausted  # what can be drawn without a recorder, is
        while self.pool.exhausted and (entry := self._run.ledger.next_to_record()) is not None:
            self._settle(entry, "the recorder dies again and again; nothing is written")

    def _recorded(self, recorder: Child, packet: Packet) -> None:
        recorded = process_messages.decode(packet.data)
        recorder.finish()
        if isinstance(recorded, RecordsBegun):
            self.has_begun = True
            if recorded.error:
                self._run.add_error(recorded.error)
            return
        assert isinstance(recorded, ResultsWritten)
        entry = self._run.ledger[recorded.sequence]
        entry.notices += recorded.notices
        entry.seconds += recorded.seconds
        entry.alerts = recorded.alerts
        self._settle(entry, recorded.error)
        if recorded.disk_is_full:
            self._on_disk_full()

    def _recorder_lost(self, recorder: Child | None, how: str) -> None:
        self._run.has_changed = True
        if recorder is None:
            self._run.add_error(how[:LONGEST_ERROR])
        elif recorder.task is not None and recorder.task != _BEGINNING:
            entry = self._run.ledger[recorder.task]
            entry.transition("retry")
            if entry.record_tries >= MOST_TRIES:
                self._settle(entry, f"{how}, {entry.record_tries} times")

    def _settle(self, entry: Entry, error: str) -> None:
        self._run.ledger.settle(entry, error)
        if entry.descriptor >= 0:
            os.close(entry.descriptor)
        if entry.error:
            self._run.add_error(describe_failure(entry))
        competed = self._run.pop_competed_seconds(entry)
        self._acknowledge(
            Acknowledgement(
                entry.sequence,
                entry.error,
                entry.notices,
                entry.alerts,
                competed,
                entry.verdicts,
            )
        )


def _wait_until_closed(channel: Channel) -> None:
    """Wait for the other end to close, for a bounded time."""
    deadline = time.monotonic() + LAST_SUMMARY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        try:
            while (left := deadline - time.monotonic()) > 0:
                selector.select(left)
                channel.receive()
        except ChannelClosed:
            pass
