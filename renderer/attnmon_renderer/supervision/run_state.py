"""What the supervisor knows of its run, shared by its stages: no process and no I/O."""

import os
import time
from collections import deque
from dataclasses import replace

from attnmon.link.records.training_accounts import NO_REMARKS, Accounts
from attnmon_renderer.process_messages import LONGEST_ERROR, RunStatus
from attnmon_renderer.supervision.ledger import Entry, Ledger
from attnmon_renderer.supervision.retained_captures import RetainedCaptures
from attnmon_renderer.supervision.scheduling.competition import Competition
from attnmon_renderer.supervision.worker_pool import WorkerPool

MOST_ERRORS = 10
"""The summary lists the latest errors, at most so many."""


class RunState:
    """The captures of a run, its latest errors, and the counters of the training process."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.retained = RetainedCaptures()
        self.accounts = Accounts()
        """The training process's counters, as of its latest message."""
        self.remarks = NO_REMARKS
        """What the training process has told its user."""
        self.errors: deque[str] = deque(maxlen=MOST_ERRORS)
        """The latest errors, oldest first."""
        self.first_step: int | None = None
        """Of the first capture to be drawn; None while there is none."""
        self.end_state = ""
        """How the run ended: "closed", "trainer lost" or "renderer stopped"; empty before."""
        self.has_changed = True
        """Whether the summary is out of date, beyond what each capture brings with it."""
        self.pools: list[WorkerPool] = []
        """The child processes, for the list of process ids."""
        self.competition = Competition()
        self.lag = 0.0
        """Seconds from the latest capture that is drawn to its being drawn."""
        self.newest_picture: float | None = None
        """When the newest picture was drawn, in seconds since 1970."""
        self._own_seconds = time.process_time()

    @property
    def is_settled(self) -> bool:
        """Whether every capture that was announced is recorded, or has failed."""
        return not len(self.ledger)

    def add_error(self, text: str) -> None:
        """Add a line to the summary's errors, and have it written."""
        self.errors.append(text)
        self.has_changed = True

    def add_drawn(self, entry: Entry, *, has_pictures: bool) -> None:
        """Note that a capture is drawn now."""
        now = time.time()
        self.lag = max(0.0, now - entry.timestamp)
        if has_pictures:
            self.newest_picture = now

    def pop_competed_seconds(self, entry: Entry) -> float:
        """Return what a settled capture has taken from the training; 0 where a core was free.

        That is the processor time of all processes, this one's since the last capture included.
        """
        before, self._own_seconds = self._own_seconds, time.process_time()
        own = self._own_seconds - before
        return entry.seconds + own if self.competition.is_starved else 0.0

    def status(self) -> RunStatus:
        """Return how the run stands now."""
        return RunStatus(
            trainer=self.accounts,
            rendered=self.ledger.rendered,
            failed=self.ledger.failed,
            state="finishing" if self.end_state else "running",
            pids=(os.getpid(), *(child.pid for pool in self.pools for child in pool.children)),
            errors=tuple(self.errors),
            retained=len(self.retained),
            dumps=tuple(self.retained.dumps),
            remarks=self.remarks,
            starved=self.competition.is_starved,
            lag=self.lag,
            newest_picture=self.newest_picture,
        )

    def status_after(self, entry: Entry) -> RunStatus:
        """Return how the run will stand once this capture is recorded.

        The recorder writes it together with the capture, so that the summary never lags behind.
        """
        status = self.status()
        if not entry.error:
            return replace(status, rendered=status.rendered + 1)
        errors = (*status.errors, describe_failure(entry))
        return replace(status, failed=status.failed + 1, errors=errors)


def describe_failure(entry: Entry) -> str:
    """Return a line for the summary's errors, of bounded length."""
    return f"capture {entry.sequence}: {entry.error[:LONGEST_ERROR]}"
