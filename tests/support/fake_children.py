"""A supervisor's children, played by the test: channels without processes."""

import contextlib
import errno
import os
from collections.abc import Callable
from itertools import count

import pytest

from attnmon.link import descriptors, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Capture
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import Drawn, ProcessMessage, WriteResults
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child

_pids = count(1 << 30)
"""No process has such an id, so that the system tells nothing of it."""


class FakeChild(Child):
    """A child whose end of the channel is the test's."""

    def __init__(self, role: str) -> None:
        ours, self.far_end = Channel.pair()
        super().__init__(role, next(_pids), ours)
        self.will_exit_with = 0
        self.unread: list[WriteResults] = []
        """A recorder's tasks that it had not received when it was reaped."""

    def kill(self) -> None:
        self.far_end.close()

    def reap(self) -> str:
        if self.role == "recorder":
            with contextlib.suppress(ChannelClosed):
                while (found := self.received_task()) is not None:
                    self.unread.append(found[0])
        self.far_end.close()
        self.channel.close()
        self.exit_code = self.will_exit_with
        return f"the {self.role} died"

    def received_capture(self) -> Capture | None:
        """What a worker is to draw next."""
        packet = self.far_end.receive()
        if packet is None:
            return None
        capture = messages.decode(packet.data)
        assert isinstance(capture, Capture)
        return capture

    def received_task(self) -> tuple[WriteResults, bytes] | None:
        """What a recorder is to write next, and what is in the file that came with it."""
        packet = self.far_end.receive()
        if packet is None:
            return None
        task = process_messages.decode(packet.data)
        assert isinstance(task, WriteResults)
        content = b""
        for descriptor in packet.descriptors:
            with os.fdopen(descriptor, "rb") as file:
                content += file.read()
        return task, content

    def send(self, message: ProcessMessage, content: bytes = b"") -> None:
        """Send to the supervisor; with a file of this content, unless that is empty."""
        files = (
            [descriptors.make_nameless_file(lambda file: file.write(content))] if content else []
        )
        self.far_end.send(process_messages.encode(message), files)
        for file in files:
            os.close(file)

    def draw(self, error: str = "") -> int:
        """Answer the next capture, whose number is returned."""
        capture = self.received_capture()
        assert capture is not None, "nothing to draw"
        self.send(Drawn(capture.sequence, error), b"results")
        return capture.sequence


class FakeChildren:
    """Stands in for `child_process.fork`, and keeps what it has made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[FakeChild] = []
        self.fork_fails = False
        self.on_fork: Callable[[FakeChild], None] = self.made.append
        monkeypatch.setattr(child_process, "fork", self._fork)

    def _fork(self, role: str, run: Callable[[Channel], None], keep_open: set[int]) -> Child:
        if self.fork_fails:
            raise BlockingIOError(errno.EAGAIN, "no room for a process")
        child = FakeChild(role)
        self.on_fork(child)
        return child

    def of(self, role: str) -> list[FakeChild]:
        """Those of one role, the first forked first."""
        return [child for child in self.made if child.role == role]

    def close(self) -> None:
        for child in self.made:
            if child.exit_code is None:
                child.reap()
