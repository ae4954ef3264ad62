"""The life of a monitor's renderer, seen from the training process: start, loss, shutdown."""

import atexit
import os
import shlex
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnmon.accounting import dump_triggers
from attnmon.accounting.counters import Counters
from attnmon.accounting.error_guard import (
    ErrorGuard,
    announce,
    comes_from_signal_handler,
    describe,
)
from attnmon.accounting.received_alerts import ReceivedAlerts
from attnmon.accounting.stand_in_summary import amend_summary, finish_summary, write_summary
from attnmon.config.settings import Settings, is_disabled
from attnmon.link import descriptors
from attnmon.link.messages import SeenIn
from attnmon.link.records.training_accounts import Remarks
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.serializer import CaptureSerializer
from attnmon.serialize.step_info import StepInfo
from attnmon.session.capture_errors import CaptureErrors
from attnmon.session.producer import Producer
from attnmon.session.publisher import Collect, Publisher
from attnmon.session.shutdown import mirror_trouble, shut_down, summary_line
from attnmon.session.startup import Connection, NotOpened, describe_loss, open_connection

_WRITES_TO = "attnmon: writes to {folder}; to follow it: attnmon view {folder}"
CLOSED = "it is closed"
"""Why a monitor is off that was on until it was closed."""


class Session:
    """Owns the connection to the renderer, from construction to `close`, and the counters.

    Construction waits for nothing. Where there is no renderer, `guard.off` says why, and nothing
    is published.
    """

    def __init__(self, settings: Settings, off: str = "") -> None:
        """`off`: why nothing can be captured, if that is known."""
        self.guard = ErrorGuard()
        self.counters = Counters()
        self.alerts = ReceivedAlerts(self.guard, settings.on_alert, settings.notify_level)
        self.closed = False
        self._settings = settings
        self._owner = os.getpid()
        self._pending_at_close = 0
        self._connection: Connection | None = None
        self._publisher: Publisher | None = None
        self._reported = self.guard.remarks
        if is_disabled():
            self.guard.set_off("ATTNMON_DISABLE is set")
        elif not settings.rank_is_selected:
            self.guard.set_off(f"rank {settings.rank} is not among ranks={settings.ranks!r}")
        elif off:
            self.guard.switch_off(off)
        else:
            self._start()

    def _start(self) -> None:
        try:
            self._connection = open_connection(self._settings, self.counters, self.guard)
        except NotOpened as reason:
            self.guard.switch_off(str(reason))
            if reason.folder is not None:
                write_summary(reason.folder, "off", self.accounts(), mode=self._settings.mode)
            return
        self._settings = self._connection.settings
        self._publisher = Publisher(
            self._connection.producer,
            self._connection.serializer,
            self.counters,
            self.guard,
            CaptureErrors(self.counters, self.guard, self._on_renderer_lost),
            self.poll,
            keeps_last=self._settings.keep_last > 0,
        )
        _open_sessions.add(self)
        folder = shlex.quote(str(self._settings.save_dir))
        announce(_WRITES_TO.format(folder=folder))
        descriptors.abandon_after_fork(self)

    @property
    def _producer(self) -> Producer | None:
        return None if self._connection is None else self._connection.producer

    @property
    def save_dir(self) -> Path:
        """The directory that is really written to."""
        return self._settings.save_dir

    # While training

    @property
    def serializer(self) -> CaptureSerializer:
        """The serializer that writes layers into the ring while they are collected."""
        assert self._connection is not None
        return self._connection.serializer

    @property
    def sent_as_queries(self) -> Mapping[str, str]:
        """Why layers are not summed up on their device, by the names of modules."""
        summaries = None if self._connection is None else self.serializer.summaries
        return {} if summaries is None else summaries.reasons

    def new_builder(self, *, sample: int, seen_in: SeenIn, retained: bool) -> CaptureBuilder:
        """Return an empty capture of this sample; `retained` if its step is not due."""
        assert self._connection is not None
        return self._connection.producer.new_builder(
            sample=sample, seen_in=seen_in, retained=retained
        )

    def publish(self, step_info: StepInfo, collect: Collect) -> bool:
        """Announce what `collect` returns. False: it should be collected at the next step."""
        if self._publisher is None or self.guard.off:
            return True
        was_seen = self._publisher.publish(step_info, collect)
        self.report()
        return was_seen

    def retain(self, step_info: StepInfo, collect: Collect) -> bool:
        """Retain what `collect` returns, to be drawn only after a dump. False: nothing was seen."""
        if self._publisher is None or self.guard.off:
            return True
        return self._publisher.retain(step_info, collect)

    def dump(self, reason: str) -> None:
        """Have all drawn that was retained so far; returns at once."""
        if self._publisher is not None:
            self._publisher.dump(reason)

    @property
    def has_pending_copies(self) -> bool:
        """Whether there is something to be announced at a later call, due or not."""
        return self._publisher is not None and self._publisher.has_pending_copies

    def announce_completed(self) -> None:
        """Announce the captures whose copies are complete by now; never waits."""
        if self._publisher is not None:
            self._publisher.announce_completed()
            self.report()

    def report(self) -> None:
        """Have `summary.json` say what the user was told, if there is more; never waits."""
        remarks, producer = self.guard.remarks, self._producer
        if remarks is self._reported or producer is None or producer.lost:
            return
        if producer.send_remarks(remarks):
            self._reported = remarks

    def poll(self) -> None:
        """Read what the renderer has sent; never waits. Switches off if it is gone."""
        producer = self._producer
        if producer is None or producer.lost:
            return
        still_there = producer.poll()
        if producer.has_news:
            self._take_in(producer)
        if not still_there and not self.closed:
            self._switch_off_without_renderer()

    def _take_in(self, producer: Producer) -> None:
        for kind, text in producer.pop_notices():
            self.guard.warn_once(kind, text)
        if (verdicts := producer.pop_verdicts()) and self.serializer.summaries is not None:
            self.serializer.summaries.settle(verdicts)
        self.alerts.add(producer.pop_alerts())
        self._heed_refusal()

    @property
    def awaits_answers(self) -> bool:
        """Whether captures were announced of which the renderer has not told what became."""
        return self._connection is not None and self._connection.producer.pending > 0

    def deliver_alerts(self) -> None:
        """Hand to the user what alerts have changed; after an error the last steps are drawn."""
        for alert in self.alerts.deliver():
            if alert.is_open and alert.severity == "error":
                self.dump(f"alert {alert.rule} at step {alert.step}: {alert.text}")

    def _on_renderer_lost(self) -> None:
        self.poll()  # its last message may say why
        self._switch_off_without_renderer()

    def _heed_refusal(self) -> None:
        if self._producer is not None and self._producer.refusal:
            self.guard.switch_off(f"the renderer takes in no more: {self._producer.refusal}")

    def _switch_off_without_renderer(self) -> None:
        if self._connection is not None:
            self.guard.switch_off(describe_loss(self._connection.renderer))

    # At the end

    def abandon(self) -> None:
        """Switch off in a forked child: training, renderer and ring are the parent's."""
        if self.closed:
            return
        self.guard.set_off("this is a forked child of the training process")
        if self._connection is not None:
            self._connection.abandon()

    def __del__(self) -> None:
        """Close a monitor that was dropped without `close`: say goodbye, and wait for nothing."""
        if getattr(self, "_connection", None) is not None:  # constructed, and not closed
            self.close(timeout=0)

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Say goodbye, wait for what is pending, and return the accounts.

        Waits at most `timeout` seconds; None is the user's `close_timeout`.
        """
        if self.closed or os.getpid() != self._owner:
            return self.accounts()
        self.closed = True
        _open_sessions.discard(self)
        deadline = time.monotonic() + self._patience(timeout)
        try:
            self._finish(deadline)
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            self.guard.warn_once("close", f"attnmon did not close in order: {describe(error)}")
        else:
            self.alerts.deliver()
            self._tell_of_mirror()
        finally:  # also after Ctrl-C, which must not have to wait for us
            self._disconnect()
            self.guard.set_off(CLOSED)
        return self.accounts()

    def _tell_of_mirror(self) -> None:
        """Warn of what is not uploaded, if the renderer has not had the time to say so."""
        if self._settings.mirror is not None and (trouble := mirror_trouble(self.save_dir)):
            self.guard.warn_once("mirror", f"mirror={self._settings.mirror!r}: {trouble}")

    def _patience(self, timeout: float | None) -> float:
        """Return the seconds to wait; the user's `close_timeout` where none were given."""
        if timeout is not None:
            try:
                if (seconds := float(timeout)) >= 0:
                    return seconds
            except Exception as error:
                why = describe(error)
            else:
                why = f"{seconds} is no time to wait"
            self.guard.warn_once("timeout", f"close(timeout=…): {why}; close_timeout is taken")
        return self._settings.close_timeout

    def _finish(self, deadline: float) -> None:
        if self._connection is None or self._publisher is None:
            return
        self._publisher.announce_completed(wait=True)
        if self._publisher.has_published_nothing and self._connection.end_unused():
            finish_summary(self._settings.save_dir, self.accounts(), self._settings.mode)
        elif not self._connection.producer.lost:
            self.report()
            shut_down(self._connection.producer, self.poll, deadline, self._settings.mirror)
            self._heed_refusal()
        self._connection.renderer.wait(deadline - time.monotonic())
        is_lost = self._connection.producer.lost and not self._connection.producer.refusal
        if is_lost and self.guard.off:
            settings = self._settings
            amend_summary(settings.save_dir, "renderer lost", self.accounts(), settings.mode)
        announce(summary_line(self.accounts(), self._settings.save_dir))

    def _disconnect(self) -> None:
        """Close the connection; the counters stay."""
        self._pending_at_close = self._pending()
        if self._connection is not None:
            self._connection.close()
        self._connection = self._publisher = None

    def accounts(self) -> dict[str, Any]:
        """Return the figures of `close()`: captured == rendered + dropped + failed + pending."""
        return {
            **self.counters.all_figures(),
            **self._remarks().figures(),
            "pending": self._pending(),
            "save_dir": str(self._settings.save_dir),
        }

    def _remarks(self) -> Remarks:
        remarks = self.guard.remarks
        return replace(remarks, off="") if remarks.off == CLOSED else remarks

    def _pending(self) -> int:
        return self._pending_at_close if self._publisher is None else self._publisher.pending


_open_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for session in list(_open_sessions):
        if reason := dump_triggers.exit_reason():
            session.dump(reason)
        session.close()
