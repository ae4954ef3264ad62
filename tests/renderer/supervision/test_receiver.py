"""What becomes of each message of a training process, and the order of the answers to it."""

import os
import selectors
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.messages import CAPTURE, SETUP

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, Message, Refusal, Release
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.supervision.ledger import State
from attnmon_renderer.supervision.receiver import NO_GOODBYE, Receiver, receive_setup
from attnmon_renderer.supervision.run_state import RunState


class Trainer:
    """A training process's end of the channel, and the receiver at the other."""

    def __init__(self) -> None:
        self.channel, self.theirs = Channel.pair()
        self.selector = selectors.DefaultSelector()
        self.run = RunState()
        self.receiver = Receiver(self.theirs, SETUP, self.run, self.selector)

    def send(self, *sent: Message) -> None:
        for message in sent:
            assert self.channel.send(messages.encode(message))
        self.receiver.receive_all()

    def answers(self) -> list[Message]:
        found = []
        while (packet := self.channel.receive()) is not None:
            found.append(messages.decode(packet.data))
        return found

    def states(self) -> dict[int, State]:
        return {entry.sequence: entry.state for entry in self.run.ledger}


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    yield made
    made.selector.close()
    made.channel.close()
    made.theirs.close()


def capture(sequence: int, retained_from: int | None = None) -> Capture:
    accounts = Accounts(captured=sequence)
    return replace(
        CAPTURE, sequence=sequence, step=sequence, retained_from=retained_from, accounts=accounts
    )


def test_a_capture_waits_to_be_drawn_and_brings_the_accounts(trainer: Trainer) -> None:
    trainer.send(capture(4), capture(7))
    assert trainer.states() == {4: State.WAITING, 7: State.WAITING}
    assert trainer.run.ledger[7].packed == messages.encode(capture(7))
    assert trainer.run.ledger[7].weight_count == 4 * 7 * 9
    assert trainer.run.accounts == Accounts(captured=7)


def test_a_capture_outside_the_ring_fails_under_its_number(trainer: Trainer) -> None:
    trainer.send(replace(capture(4), slots=(Slots(0, 99),)))
    assert trainer.states() == {4: State.DRAWN}
    assert trainer.run.ledger[4].error.startswith("refused: slots")


def test_what_cannot_be_understood_is_an_error_and_the_next_message_is_received(
    trainer: Trainer,
) -> None:
    trainer.channel.send(b"noise")
    trainer.send(Acknowledgement(0), capture(4), capture(4))
    assert trainer.states() == {4: State.WAITING}
    assert [error.partition(":")[0] for error in trainer.run.errors] == ["refused a message"] * 3
    assert "not for the renderer" in trainer.run.errors[1]
    assert "twice" in trainer.run.errors[2]


def test_retained_captures_are_drawn_by_a_dump_in_its_order(trainer: Trainer) -> None:
    trainer.send(capture(2, retained_from=2), capture(3, retained_from=2), capture(4), Release(3))
    assert list(trainer.run.retained) == [3]
    trainer.run.has_changed = False
    trainer.send(Dump("why", (3, 5), Accounts(captured=9)))
    assert trainer.states() == {4: State.WAITING, 3: State.WAITING, 5: State.DRAWN}
    drawn = messages.decode(trainer.run.ledger[3].packed)
    assert isinstance(drawn, Capture)
    assert (drawn.retained_from, drawn.dump_reason) == (None, "why")
    assert trainer.run.ledger[5].error == "it was to be kept, and never came"
    assert trainer.run.accounts == Accounts(captured=9)
    assert trainer.run.has_changed
    assert len(trainer.run.retained) == 0


def test_a_goodbye_ends_the_run_in_order_and_releases_what_was_retained(trainer: Trainer) -> None:
    trainer.send(capture(2, retained_from=2), Goodbye(Accounts(captured=1)))
    trainer.channel.close()
    trainer.receiver.receive_all()
    assert trainer.run.end_state == "closed"
    assert trainer.run.accounts == Accounts(captured=1)
    assert len(trainer.run.retained) == len(trainer.run.ledger) == 0


def test_a_training_process_that_dies_has_its_retained_captures_drawn(trainer: Trainer) -> None:
    trainer.send(capture(2, retained_from=2), capture(3, retained_from=2))
    trainer.channel.close()
    trainer.receiver.receive_all()
    assert trainer.run.end_state == "trainer lost"
    assert trainer.states() == {2: State.WAITING, 3: State.WAITING}
    assert trainer.run.accounts.captured == 3 + 2
    assert [dump.reason for dump in trainer.run.retained.dumps] == [NO_GOODBYE]


def test_after_a_stop_what_has_come_is_received_and_nothing_more(trainer: Trainer) -> None:
    trainer.channel.send(messages.encode(capture(4)))
    trainer.receiver.stop("why")
    trainer.send(capture(5))
    assert trainer.run.end_state == "renderer stopped"
    assert trainer.states() == {4: State.WAITING}
    trainer.receiver.send_outgoing()
    assert trainer.answers() == [Refusal("why")]


def test_answers_wait_in_order_for_room_in_the_channel(trainer: Trainer) -> None:
    sent = [Acknowledgement(n, "x" * 5000) for n in range(600)]
    for acknowledgement in sent:
        trainer.receiver.acknowledge(acknowledgement)
    found = []
    while trainer.receiver.has_unsent:
        trainer.receiver.send_outgoing()
        arrived = trainer.answers()
        assert 0 < len(arrived) < len(sent)
        found += arrived
    assert found == sent


def test_answers_to_a_training_process_that_is_gone_are_dropped(trainer: Trainer) -> None:
    trainer.channel.close()
    trainer.receiver.acknowledge(Acknowledgement(0))
    trainer.receiver.send_outgoing()
    assert not trainer.receiver.has_unsent


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_the_setup_comes_with_the_ring_and_the_lock(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with open(os.devnull) as ring, open(os.devnull) as lock:
        ours.send(messages.encode(SETUP), [ring.fileno(), lock.fileno()])
    setup, ring_descriptor, write_lock = receive_setup(theirs)
    assert setup == SETUP
    assert len(write_lock.descriptors) == 1
    os.close(ring_descriptor)
    write_lock.release()


@pytest.mark.parametrize("first", [SETUP, CAPTURE], ids=["without a ring", "not a setup"])
def test_anything_else_at_first_is_refused(first: Message, ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send(messages.encode(first))
    with pytest.raises(MessageError, match="must come first"):
        receive_setup(theirs)


def test_a_setup_is_not_waited_for_without_end(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    with pytest.raises(MessageError, match="no Setup"):
        receive_setup(theirs, patience=0.01)
    ours.close()
    with pytest.raises(ChannelClosed):
        receive_setup(theirs, patience=0.01)
