"""Messages that nobody should send: refused, or followed without harm, and nothing else happens.

`attacks/` holds them, one a file. More are made up: as many as `ATTNMON_FUZZ` says.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from link.attacks import make
from support.fuzzing import damaged
from support.messages import EVERY_KIND
from support.outputs import history, summary

from attnmon import TrainingAttentionMonitor
from attnmon.accounting.counters import Counters
from attnmon.link.channel import Channel
from attnmon.link.messages import Acknowledgement, Capture, Dump, Goodbye, decode, encode
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import Accounts
from attnmon.link.ring import MEBIBYTE, SLOT_BYTES, make_ring
from attnmon.serialize.capture_builder import CaptureBuilder, RingFull
from attnmon.session.producer import Producer
from attnmon_renderer.supervision.run_state import MOST_ERRORS

FOLDER = Path(make.__file__).parent
CORPUS = {f"{path.parent.name}/{path.stem}": path for path in sorted(FOLDER.glob("*/*.msgpack"))}
FUZZED = int(os.environ.get("ATTNMON_FUZZ", "200000"))
VALID = [*(encode(message) for message in EVERY_KIND), make.PACKED]
GOOD = 12


def attacks(folder: str) -> Iterator[bytes]:
    return (path.read_bytes() for name, path in CORPUS.items() if name.startswith(folder))


def test_the_files_are_those_that_their_script_makes() -> None:
    made = {f"{folder}/{name}" for folder, found in make.CORPUS.items() for name in found}
    assert CORPUS.keys() == made
    for name, path in CORPUS.items():
        folder, _, attack = name.partition("/")
        again = make.CORPUS[folder][attack]
        assert path.read_bytes() == again, f"run {make.__file__}: the schema has changed"


@pytest.mark.parametrize("attack", [name for name in CORPUS if name.startswith("refused/")])
def test_what_does_not_follow_the_schema_is_refused(attack: str) -> None:
    started = time.process_time()
    with pytest.raises(MessageError) as refusal:
        decode(CORPUS[attack].read_bytes())
    assert len(str(refusal.value)) < 1000
    assert time.process_time() - started < 1


@pytest.mark.parametrize("attack", [name for name in CORPUS if name.startswith("outside/")])
def test_what_does_not_fit_the_ring_is_refused(attack: str) -> None:
    message = decode(CORPUS[attack].read_bytes())
    if isinstance(message, Capture):
        with pytest.raises(MessageError):
            message.require_inside(make.RING_BYTES, SLOT_BYTES)
    else:
        assert "kind" in attack


def test_a_fuzzed_message_is_refused_or_follows_the_schema() -> None:
    chance, found, longest = random.Random(1), Counter[str](), 0.0
    for _ in range(FUZZED):
        packed = damaged(chance, VALID)
        started = time.process_time()
        try:
            message = decode(packed)
        except MessageError:
            found["refused"] += 1
        else:
            found[type(message).__name__] += 1
            if isinstance(message, Capture):
                found[refused_for_the_ring(message)] += 1
        longest = max(longest, time.process_time() - started)
    assert longest < 1, "one message held the renderer up"
    assert found["refused"] > FUZZED / 2, "the damage is too small"
    for kind in (*(type(message).__name__ for message in EVERY_KIND), "inside", "outside"):
        assert found[kind] > FUZZED / 5000, f"no fuzzed message is {kind}: {found}"


def refused_for_the_ring(capture: Capture) -> str:
    try:
        capture.require_inside(make.RING_BYTES, SLOT_BYTES)
    except MessageError:
        return "outside"
    return "inside"


class Trainer:
    """A monitor on a small ring, through whose channel anything can be sent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.monitor = TrainingAttentionMonitor(
            folder, 1, on_full="wait", max_overhead=None, ring_bytes=make.RING_BYTES
        )
        producer = self.monitor._session._producer
        assert producer is not None
        self.producer = producer
        self.good = 0

    def capture(self) -> None:
        self.monitor.record("decoder.0", weights=torch.softmax(torch.randn(1, 2, 5, 5), -1))
        self.monitor.log_attention(step=self.good)
        self.good += 1

    def attack(self, packed: bytes) -> None:
        deadline = time.monotonic() + 60
        while not self.producer._channel.send(packed):
            assert time.monotonic() < deadline, "the renderer takes in nothing any more"
            self.producer.wait_for_message(0.1)

    def until_all_is_drawn(self) -> None:
        deadline = time.monotonic() + 60
        while self.producer.pending:
            self.producer.wait_for_message(0.1)
            assert not self.producer.lost, "the renderer has gone"
            assert time.monotonic() < deadline, "what was announced is not acknowledged"

    def must_have_lost_nothing(self) -> None:
        """Every good capture is drawn, in order, every slot is back, and the renderer lives."""
        self.capture()
        self.until_all_is_drawn()
        assert self.producer.allocator.pool.free_count == self.producer.allocator.pool.count
        accounts = self.monitor.close()
        assert (accounts["captured"], accounts["rendered"]) == (self.good, self.good)
        steps = [line["metadata"]["step"] for line in history(self.folder)]
        assert [step for step in steps if 0 <= step < self.good] == list(range(self.good))
        assert all((self.folder / f"step_{step}").is_dir() for step in range(self.good))
        assert summary(self.folder)["state"] == "closed"


def test_attacks_between_good_captures_cost_none_of_them(tmp_path: Path) -> None:
    """What is refused is told in the summary; what is allowed is drawn, or fails."""
    trainer = Trainer(tmp_path)
    refused = [packed for packed in attacks("refused") if packed]  # an empty packet is an end
    chance, every = random.Random(2), [*refused, *attacks("outside"), *attacks("allowed")]
    chance.shuffle(every)
    for number, packed in enumerate(every):
        if number % (len(every) // GOOD) == 0:
            trainer.capture()
        trainer.attack(packed)
    for packed in refused[:MOST_ERRORS]:
        trainer.attack(packed)
    trainer.must_have_lost_nothing()
    errors = summary(tmp_path)["errors"]
    assert [error.partition(":")[0] for error in errors] == ["refused a message"] * MOST_ERRORS


def test_a_capture_that_does_not_fit_the_ring_is_answered_so_that_its_slots_come_back(
    tmp_path: Path,
) -> None:
    trainer = Trainer(tmp_path)
    with trainer.producer.new_builder() as builder:
        builder.reserve(1)
        trainer.producer.announce(decode_capture(make.OUTSIDE["slots_none"]), builder)
    trainer.until_all_is_drawn()
    assert trainer.producer.pop_notices()[0][0] == "failed"
    trainer.must_have_lost_nothing()
    [error] = summary(tmp_path)["errors"]
    assert "refused: block" in error


def decode_capture(packed: bytes) -> Capture:
    message = decode(packed)
    assert isinstance(message, Capture)
    return message


def test_fuzzed_messages_between_good_captures_cost_none_of_them(tmp_path: Path) -> None:
    trainer, chance, sent = Trainer(tmp_path), random.Random(3), Counter[str]()
    while sent["refused"] < 5000:
        if sum(sent.values()) % 500 == 0:
            trainer.capture()
        packed = damaged(chance, VALID)
        kind = of_what_kind(packed)
        sent[kind] += 1
        if kind in ("refused", "outside", "inside"):
            trainer.attack(packed)
    assert min(sent["inside"], sent["outside"]) > 10
    trainer.must_have_lost_nothing()
    assert summary(tmp_path)["errors"]


def of_what_kind(packed: bytes) -> str:
    """ "ours" could be one of the good captures: the trainer would contradict itself."""
    try:
        message = decode(packed)
    except MessageError:
        return "refused"
    if isinstance(message, Goodbye | Setup):
        return "end" if isinstance(message, Goodbye) else "outside"
    if isinstance(message, Dump):
        return "inside" if min(message.sequences, default=1001) > 1000 else "ours"
    if not isinstance(message, Capture):
        return "outside"
    kind = refused_for_the_ring(message)
    small = all(max(attention.shape) < 5000 for attention in message.attentions)
    return kind if message.sequence > 1000 and message.step > 1000 and small else "ours"


class Answers(RuleBasedStateMachine):
    """A renderer that answers twice, out of order, what nobody asked, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        ours, self.theirs = Channel.pair()
        self.counters = Counters()
        self.producer = Producer(make_ring(MEBIBYTE), ours, self.counters)
        self.chance = random.Random(4)
        self.sequence = 0
        self.answered: list[int] = []

    def teardown(self) -> None:
        self.producer.abandon()
        self.theirs.close()

    @rule(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3), announce=st.booleans())
    def capture(self, sizes: list[int], announce: bool) -> None:
        try:
            with self.producer.new_builder() as builder:
                for size in sizes:
                    builder.reserve(size * SLOT_BYTES)
                if announce:
                    self.announce(builder)
        except RingFull:
            pass

    def announce(self, builder: CaptureBuilder) -> None:
        message = decode_capture(make.PACKED)
        self.producer.announce(_numbered(message, self.sequence), builder)
        self.sequence += 1

    @precondition(lambda self: self.producer._pending)
    @rule(data=st.data(), error=st.sampled_from(["", "disk full"]))
    def answer(self, data: st.DataObject, error: str) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.producer._pending)))
        settled = self.counters.rendered + self.counters.failed_in_renderer
        self.say(encode(Acknowledgement(sequence, error)))
        assert not self.producer.is_pending(sequence)
        assert self.counters.rendered + self.counters.failed_in_renderer == settled + 1
        self.answered.append(sequence)

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def answer_again(self, data: st.DataObject) -> None:
        self.must_change_nothing(encode(Acknowledgement(data.draw(st.sampled_from(self.answered)))))

    @rule(beyond=st.integers(0, 1 << 40))
    def answer_what_was_not_asked(self, beyond: int) -> None:
        self.must_change_nothing(encode(Acknowledgement(self.sequence + beyond)))

    @rule()
    def talk_nonsense(self) -> None:
        packed = damaged(self.chance, VALID)
        try:
            if isinstance(decode(packed), Acknowledgement):
                return
        except MessageError:
            pass
        self.must_change_nothing(packed)

    @rule(message=st.sampled_from([make.PACKED, encode(Goodbye(Accounts()))]))
    def say_what_is_the_trainers_to_say(self, message: bytes) -> None:
        self.must_change_nothing(message)

    def must_change_nothing(self, packed: bytes) -> None:
        before = self.state()
        self.say(packed)
        assert self.state() == before

    def state(self) -> tuple[dict[int, list[Slots]], int, int]:
        counters = self.counters
        return dict(self.producer._pending), counters.rendered, counters.failed_in_renderer

    def say(self, packed: bytes) -> None:
        with open(os.devnull, "rb") as nothing:
            self.theirs.send(packed or b"\xc1", [nothing.fileno()])  # whose copy is to be closed
        assert self.producer.poll()
        while self.theirs.receive() is not None:
            pass

    @invariant()
    def every_slot_is_free_or_one_captures(self) -> None:
        pool = self.producer.allocator.pool
        free = [slot for first, end in pool._gaps for slot in range(first, end)]
        lent = [
            slot
            for runs in self.producer._pending.values()
            for run in runs
            for slot in range(run.first, run.first + run.count)
        ]
        assert sorted(free + lent) == list(range(pool.count))
        assert pool.free_count == len(free)


def _numbered(capture: Capture, sequence: int) -> Capture:
    return replace(capture, sequence=sequence)


TestAnswers = Answers.TestCase
TestAnswers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
