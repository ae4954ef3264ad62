"""Where captures stand in the renderer: each is settled once, in order, whatever is lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from attnmon_renderer.supervision.ledger import MOST_TRIES, TRANSITIONS, Entry, Ledger, State


class Work(RuleBasedStateMachine):
    """Workers that draw, die and give up in any order, and a recorder that follows."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.announced = 0
        self.recorded: list[int] = []

    def entries(self, state: State) -> list[Entry]:
        return [entry for entry in self.ledger if entry.state is state]

    @rule()
    def announce(self) -> None:
        self.ledger.add(self.announced, b"")
        self.announced += 1

    @rule()
    def start(self) -> None:
        entry = self.ledger.next_to_draw()
        if entry is not None:
            self.ledger.start_drawing(entry)

    @precondition(lambda self: self.entries(State.DRAWING))
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.entries(State.DRAWING)))
        tries = entry.draw_tries
        self.ledger.take_back(entry)
        assert (entry.state, entry.draw_tries) == (State.WAITING, tries - 1)

    @precondition(lambda self: self.entries(State.DRAWING))
    @rule(data=st.data(), dies=st.booleans())
    def end_of_drawing(self, data: st.DataObject, dies: bool) -> None:
        entry = data.draw(st.sampled_from(self.entries(State.DRAWING)))
        if dies:
            self.ledger.retry_or_fail(entry, "the worker died")
            assert entry.state is (State.DRAWN if entry.draw_tries == MOST_TRIES else State.WAITING)
        else:
            entry.transition("drawn")

    @rule()
    def record(self) -> None:
        entry = self.ledger.next_to_record()
        if entry is not None:
            self.ledger.start_recording(entry)

    @precondition(lambda self: self.entries(State.RECORDING))
    @rule(dies=st.booleans(), error=st.sampled_from(["", "disk full"]))
    def end_of_recording(self, dies: bool, error: str) -> None:
        (entry,) = self.entries(State.RECORDING)
        if dies:
            entry.transition("retry")
        else:
            self.ledger.settle(entry, error)
            self.recorded.append(entry.sequence)

    @invariant()
    def all_are_accounted_for(self) -> None:
        settled = self.ledger.rendered + self.ledger.failed
        assert settled + len(self.ledger) == self.announced

    @invariant()
    def recorded_in_order(self) -> None:
        assert self.recorded == list(range(len(self.recorded)))

    @invariant()
    def nothing_is_tried_too_often(self) -> None:
        assert all(entry.draw_tries <= MOST_TRIES for entry in self.ledger)


TestWork = Work.TestCase
TestWork.settings = settings(max_examples=100, stateful_step_count=40)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", sorted({event for _, event in TRANSITIONS}))
def test_only_moves_of_the_table_are_made(state: State, event: str) -> None:
    entry = Entry(0, b"", state)
    if (state, event) in TRANSITIONS:
        entry.transition(event)
        assert entry.state is TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=state.name):
            entry.transition(event)
        assert entry.state is state


def test_the_same_capture_cannot_be_announced_twice() -> None:
    ledger = Ledger()
    ledger.add(0, b"first")
    with pytest.raises(ValueError, match="twice"):
        ledger.add(0, b"second")
    assert ledger[0].packed == b"first"
