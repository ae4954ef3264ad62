"""Which steps are due."""

import random

import pytest

from attnmon.schedule import Schedule


def test_every_so_many_steps_and_step_0() -> None:
    schedule = Schedule(100, ())
    assert [step for step in range(301) if schedule.due(step, None)] == [0, 100, 200, 300]


def test_the_first_logged_step_of_a_chosen_epoch() -> None:
    schedule = Schedule(100, [1, 3])
    due = {
        step: reason
        for step in range(1, 400)
        if (reason := schedule.due(step, epoch=step // 90)) is not None
    }
    assert due == {90: "epoch", 100: "step", 200: "step", 270: "epoch", 300: "step"}


def test_a_step_that_is_due_for_both_is_the_epochs() -> None:
    schedule = Schedule(100, [1])
    assert schedule.due(500, epoch=1) == "epoch"
    assert schedule.due(600, epoch=1) == "step"


@pytest.mark.parametrize("seed", range(20))
def test_what_passes_is_what_neither_is_due_nor_has_a_due_step_next(seed: int) -> None:
    """The short way says the same as the long one, and leaves the schedule as that does."""
    chance = random.Random(seed)
    long = Schedule(chance.choice([1, 2, 3, 10]), [2])
    short = Schedule(long.interval, [2])
    step = 0
    for _ in range(300):
        step += chance.choice([1, 1, 1, 1, 2, 5, -3])
        epoch = chance.choice([None, 1, 1, 1, 2])
        if chance.random() < 0.02:
            long.postpone("step")
            short.postpone("step")
        due = long.due(step, epoch)
        nothing = due is None and not long.next_is_due()
        passed = short.passes(step, epoch)
        assert not passed or nothing, "a due step would be missed"
        assert passed or short.due(step, epoch) == due
        assert short.next_is_due() == long.next_is_due()
