"""The uploading stage: a process that mirrors the run's directory, started anew when it dies."""

import contextlib
import os
import selectors
import time
from functools import partial
from pathlib import Path

from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.records.run_setup import Setup
from attnmon_renderer.process_title import set_title
from attnmon_renderer.storage import regular_files
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.scheduling import priority

RESTART_SECONDS = 1.0
"""How soon after a death, or a failed fork, the next is forked."""
LAST_SECONDS = 30.0
"""How long it may take to end, beyond its grace: a request may be under way."""
POLL_SECONDS = 0.05


class UploadingStage:
    """The uploader of a run, if it has a mirror. No other stage depends on it.

    Args:
        selector: watches the uploader's channel, by whose end its death is noticed.
    """

    def __init__(self, setup: Setup, selector: selectors.BaseSelector) -> None:
        self._setup = setup
        self._selector = selector
        self._child: Child | None = None
        self._next_start = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Time until an uploader is to be started; None if there is none to start."""
        if self._setup.mirror is None or self._child is not None:
            return None
        return max(0.0, self._next_start - time.monotonic())

    def review(self) -> None:
        """Start an uploader, if there is to be one and there is none."""
        if self.seconds_left == 0:
            self._next_start = time.monotonic() + RESTART_SECONDS
            with contextlib.suppress(OSError):
                self._start()

    def finish(self) -> None:
        """Tell the uploader that the run has ended, and wait until it has, for a bounded time."""
        if self._setup.mirror is None:
            return
        deadline = time.monotonic() + self._setup.mirror.grace + LAST_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if _finish(self._pop_child(), deadline):
                    return
            time.sleep(RESTART_SECONDS)

    def _pop_child(self) -> Child:
        """Return the uploader, started if need be, and watch it no more. Raises OSError."""
        if self._child is None:
            self._start()
        assert self._child is not None
        child, self._child = self._child, None
        self._selector.unregister(child.channel)
        return child

    def _start(self) -> None:
        child = child_process.fork("uploader", partial(_run, self._setup), set())
        self._selector.register(child.channel, selectors.EVENT_READ, self._receive)
        self._child = child

    def _receive(self) -> None:
        assert self._child is not None
        try:
            self._child.channel.receive()
        except ChannelClosed:
            self._selector.unregister(self._child.channel)
            self._child.reap()
            self._child = None


def _finish(child: Child, deadline: float) -> bool:
    """Wait for an uploader's end, at most so long; return whether it has ended in order."""
    child.channel.close()
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(POLL_SECONDS)
    child.reap()
    return False


def _run(setup: Setup, channel: Channel) -> None:
    from attnmon_renderer.mirror.mirror_process import run_mirror

    assert setup.mirror is not None
    priority.yield_to_training()
    set_title("uploader", setup.save_dir)
    regular_files.set_mode(setup.mode)
    folder = regular_files.resolved(Path(setup.save_dir))
    run_mirror(channel, folder, setup.mirror.url, setup.mirror.grace)
