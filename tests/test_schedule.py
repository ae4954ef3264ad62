"""Which steps are due."""

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
