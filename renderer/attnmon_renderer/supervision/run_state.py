"""What the supervisor knows of its run, shared by its stages: no process and no I/O."""

import os
from collections import deque
from dataclasses import replace

from attnmon.link.messages import NO_REMARKS, Accounts
from attnmon_renderer.process_messages import LONGEST_ERROR, RunStatus
from attnmon_renderer.supervision.ledger import Entry, Ledger
from attnmon_renderer.supervision.retained_captures import RetainedCaptures
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
        self.end_state = ""
        """How the run ended: "closed", "trainer lost" or "renderer stopped"; empty before."""
        self.has_changed = True
        """Whether the summary is out of date, beyond what each capture brings with it."""
        self.pools: list[WorkerPool] = []
        """The child processes, for the list of process ids."""

    @property
    def is_settled(self) -> bool:
        """Whether every capture that was announced is recorded, or has failed."""
        return not len(self.ledger)

    def add_error(self, text: str) -> None:
        """Add a line to the summary's errors, and have it written."""
        self.errors.append(text)
        self.has_changed = True

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
