"""Which steps are due."""

import random

import pytest

from attnmon.schedule import Schedule


def test_every_so_many_steps_and_step_0() -> None:
    schedule = Schedule(100, ())
    assert [step for step in range(301) if schedule.register(step, None)] == [0, 100, 200, 300]


@pytest.mark.parametrize("first", [1, 7, 5001])
def test_the_first_step_that_is_logged_is_due_whatever_its_number(first: int) -> None:
    schedule = Schedule(100, ())
    assert schedule.is_due(first)
    assert schedule.next_is_due()
    assert schedule.register(first, None) == "step"
    assert schedule.register(first + 1, None) is None
    assert not schedule.next_is_due()


def test_the_first_step_is_due_once_where_it_begins_an_epoch() -> None:
    schedule = Schedule(100, [1])
    assert [schedule.register(step, 1) for step in (1, 2, 3)] == ["epoch", None, None]


def test_the_first_logged_step_of_a_chosen_epoch() -> None:
    schedule = Schedule(100, [1, 3])
    due = {
        step: reason
        for step in range(1, 400)
        if (reason := schedule.register(step, epoch=step // 90)) is not None
    }
    assert due == {1: "step", 90: "epoch", 100: "step", 200: "step", 270: "epoch", 300: "step"}


def test_a_step_that_is_due_for_both_is_the_epochs() -> None:
    schedule = Schedule(100, [1])
    assert schedule.register(500, epoch=1) == "epoch"
    assert schedule.register(600, epoch=1) == "step"


def logged(schedule: Schedule, step: int) -> tuple[bool, str | None]:
    """As the monitor asks: whether the step is passed over, and why it is due."""
    if step in schedule.idle_steps():
        schedule.register_idle(step)
        return True, None
    return False, schedule.register(step, None)


@pytest.mark.parametrize("stride", [1, 2, 5, 7])
@pytest.mark.parametrize("interval", [1, 2, 3, 10, 50])
def test_what_is_passed_over_is_what_neither_is_due_nor_has_a_due_step_next(
    interval: int, stride: int
) -> None:
    """The short way says the same as the long one, and leaves the schedule as that does."""
    long, short = Schedule(interval, ()), Schedule(interval, ())
    for number, step in enumerate(range(0, 400, stride)):
        due = long.register(step, None)
        nothing = due is None and not long.next_is_due()
        passed, short_due = logged(short, step)
        assert not passed or nothing, "the next step is to be prepared for"
        if number >= 2 and interval % stride == 0:  # the stride is known, and meets the due steps
            assert passed == nothing
        assert short_due == due
        assert short.next_is_due() == long.next_is_due()


@pytest.mark.parametrize("seed", range(20))
def test_no_due_step_is_passed_over_however_steps_go(seed: int) -> None:
    chance = random.Random(seed)
    long = Schedule(chance.choice([1, 2, 3, 10]), ())
    short = Schedule(long.interval, ())
    step = 0
    for _ in range(300):
        step += chance.choice([1, 1, 1, 1, 2, 5, -3])
        if chance.random() < 0.02:
            long.make_next_step_due("step")
            short.make_next_step_due("step")
        assert logged(short, step)[1] == long.register(step, None)
