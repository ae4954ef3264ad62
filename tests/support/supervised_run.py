"""A supervisor whose neighbours are all the test's: training process, children, write lock."""

import os
from dataclasses import replace

from attnmon.link import messages
from attnmon.link.channel import Channel
from attnmon.link.messages import Goodbye, Message
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import ResultsWritten, RunStatus, WriteResults
from attnmon_renderer.supervision.scheduling.competition import Supply
from attnmon_renderer.supervision.supervisor import Supervisor
from attnmon_renderer.supervision.write_lock import WriteLock
from support.fake_children import FakeChild, FakeChildren
from support.messages import CAPTURE, SETUP

NO_RING = -1


class FakeLock(WriteLock):
    """A write lock that the test gives."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.is_free = True
        self.was_released = False

    def try_acquire(self) -> bool:
        return self.is_free

    def release(self) -> None:
        self.was_released = True


class SupervisedRun:
    """A supervisor of two workers. A core is free unless the test says otherwise."""

    def __init__(self, children: FakeChildren, supply: Supply = Supply.SPARE) -> None:
        self.children = children
        self.trainer, self._theirs = Channel.pair()
        self.server, self._above = Channel.pair()
        self.lock = FakeLock()
        self.supervisor = Supervisor(self._theirs, SETUP, NO_RING, self.lock, self._above)
        if supply is not Supply.UNKNOWN:
            self.supervisor._run.competition.take_answer(1.0 if supply is Supply.SPARE else 0.0)
        self.is_done = False
        self.turn()

    def turn(self) -> None:
        """Let it do all that it can do now."""
        for _ in range(3):
            self.supervisor.wait(0)
            self.is_done = self.supervisor.advance()

    def announce(self, *sequences: int) -> None:
        for sequence in sequences:
            accounts = Accounts(captured=sequence + 1)
            capture = replace(CAPTURE, sequence=sequence, step=sequence, accounts=accounts)
            self.trainer.send(messages.encode(capture))
        self.turn()

    def say_goodbye(self, captured: int) -> None:
        self.trainer.send(messages.encode(Goodbye(Accounts(captured=captured))))
        self.turn()

    @property
    def workers(self) -> list[FakeChild]:
        return self.children.of("worker")

    @property
    def recorder(self) -> FakeChild:
        return self.children.of("recorder")[-1]

    def task(self) -> tuple[WriteResults, bytes]:
        """The recorder's next capture, past what is only a status."""
        while (found := self.recorder.received_task()) is not None:
            if found[0].sequence is not None:
                return found
        raise AssertionError("nothing to record")

    def record(self, error: str = "", disk_is_full: bool = False) -> WriteResults:
        """Answer the recorder's next capture."""
        task, _ = self.task()
        assert task.sequence is not None
        self.recorder.send(ResultsWritten(task.sequence, error, disk_is_full, (("b", "text"),)))
        self.turn()
        return task

    def answers(self) -> list[Message]:
        found = []
        while (packet := self.trainer.receive()) is not None:
            found.append(messages.decode(packet.data))
        return found

    def reported(self) -> list[RunStatus]:
        """What the standalone renderer was told."""
        found = []
        while (packet := self.server.receive()) is not None:
            status = process_messages.decode(packet.data)
            assert isinstance(status, RunStatus)
            found.append(status)
        return found

    def close(self) -> None:
        for channel in (self.trainer, self._theirs, self.server, self._above):
            channel.close()
        self.supervisor._selector.close()
        self.children.close()
        for entry in self.supervisor._run.ledger:
            if entry.descriptor >= 0:
                os.close(entry.descriptor)
