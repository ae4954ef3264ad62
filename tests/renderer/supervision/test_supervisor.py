"""The order in which captures are handed out, retried, recorded and acknowledged, and the end."""

from collections.abc import Iterator

import pytest
from support.fake_children import FakeChild, FakeChildren
from support.supervised_run import SupervisedRun

from attnmon.link import messages
from attnmon.link.messages import Acknowledgement, Capture, Refusal
from attnmon_renderer.process_messages import Drawn, ResultsWritten
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedRun]:
    made = SupervisedRun(FakeChildren(monkeypatch))
    yield made
    made.close()


def test_captures_go_to_free_workers_in_order_and_one_at_a_time(renderer: SupervisedRun) -> None:
    renderer.announce(0, 1, 2)
    first, second = renderer.workers
    assert (first.received_capture(), second.draw()) != (None, 0)
    renderer.turn()
    third = second.received_capture()
    assert third is not None
    assert third.sequence == 2
    assert first.received_capture() is None, "it has one already"


def test_captures_are_recorded_in_order_whatever_is_drawn_first(renderer: SupervisedRun) -> None:
    renderer.announce(0, 1)
    first, second = renderer.workers
    assert second.draw() == 1
    renderer.turn()
    with pytest.raises(AssertionError, match="nothing to record"):
        renderer.task()
    assert first.draw() == 0
    renderer.turn()
    assert [renderer.record().sequence, renderer.record().sequence] == [0, 1]


def test_a_capture_is_acknowledged_once_it_is_recorded(renderer: SupervisedRun) -> None:
    renderer.announce(0)
    assert renderer.workers[0].received_capture() is not None
    renderer.workers[0].send(Drawn(0, notices=(("a", "text"),)), b"results")
    renderer.turn()
    assert renderer.answers() == []
    task, content = renderer.task()
    assert (task.sequence, content, task.save_capture) == (0, b"results", False)
    renderer.recorder.send(ResultsWritten(0, notices=(("b", "text"),)))
    renderer.turn()
    assert renderer.answers() == [Acknowledgement(0, notices=(("a", "text"), ("b", "text")))]


def test_each_capture_is_counted_in_the_status_that_is_recorded_with_it(
    renderer: SupervisedRun,
) -> None:
    renderer.announce(0, 1, 2)
    errors = ("", "no font", "")
    for sequence, error in enumerate(errors):
        renderer.workers[sequence % 2].draw(error)
        renderer.turn()
    statuses = [renderer.record(error).status for error in ("", "", "disk full")]
    assert [(status.rendered, status.failed) for status in statuses] == [(1, 0), (1, 1), (2, 1)]
    assert statuses[1].errors == ("capture 1: no font",)
    assert statuses[0].trainer.captured == 3
    answers = [answer for answer in renderer.answers() if isinstance(answer, Acknowledgement)]
    assert [answer.error for answer in answers] == ["", "no font", "disk full"]
    assert (renderer.reported()[-1].rendered, renderer.supervisor._run.ledger.failed) == (1, 2)


def test_a_capture_is_tried_twice_and_then_saved_as_it_came(renderer: SupervisedRun) -> None:
    renderer.announce(0)
    for worker in range(2):
        assert renderer.workers[worker].received_capture() is not None
        renderer.workers[worker].kill()
        renderer.turn()
    assert len(renderer.workers) == 2, "it is not tried a third time"
    task, content = renderer.task()
    assert (task.save_capture, task.error) == (True, "the worker died, 2 times")
    assert isinstance(messages.decode(content), Capture)
    assert task.status.failed == 1
    renderer.recorder.send(ResultsWritten(0))
    renderer.turn()
    assert renderer.answers() == [Acknowledgement(0, "the worker died, 2 times")]


def test_results_are_recorded_twice_at_most_when_the_recorder_dies(
    renderer: SupervisedRun,
) -> None:
    renderer.announce(0)
    renderer.workers[0].draw()
    renderer.turn()
    for _ in range(2):
        assert renderer.task()[1] in (b"results", b""), "all copies share one position"
        renderer.recorder.kill()
        renderer.turn()
    assert renderer.answers() == [Acknowledgement(0, "the recorder died, 2 times")]
    assert renderer.supervisor._run.ledger.failed == 1


def test_when_workers_die_again_and_again_what_waits_fails_and_is_accounted_for(
    renderer: SupervisedRun,
) -> None:
    sequences = range(MOST_DEATHS_IN_A_ROW)
    renderer.announce(*sequences)
    while alive := [w for w in renderer.workers if w.exit_code is None]:
        for worker in alive:
            worker.kill()
        renderer.turn()
    assert len(renderer.workers) <= MOST_DEATHS_IN_A_ROW + 1
    errors = [renderer.record().error for _ in sequences]
    assert errors[-1] == "the workers die again and again; drawing has stopped"
    assert renderer.supervisor._run.ledger.failed == len(sequences)


def test_when_recorders_die_again_and_again_captures_are_still_settled(
    renderer: SupervisedRun,
) -> None:
    renderer.announce(*range(MOST_DEATHS_IN_A_ROW))
    while (recorder := renderer.recorder).exit_code is None:
        for worker in renderer.workers:
            if worker.exit_code is None and worker.task is not None:
                worker.draw()
        recorder.kill()
        renderer.turn()
    for _ in range(MOST_DEATHS_IN_A_ROW):
        for worker in renderer.workers:
            if worker.task is not None:
                worker.draw()
        renderer.turn()
    answers = [answer for answer in renderer.answers() if isinstance(answer, Acknowledgement)]
    assert [answer.sequence for answer in answers] == list(range(MOST_DEATHS_IN_A_ROW))
    assert answers[-1].error == "the recorder dies again and again; nothing is written"


def test_a_failed_fork_is_an_error_of_the_run(renderer: SupervisedRun) -> None:
    renderer.children.fork_fails = True
    renderer.announce(0)
    renderer.children.fork_fails = False
    renderer.turn()
    assert "no process for a worker" in renderer.supervisor._run.errors[0]
    renderer.workers[0].draw()
    renderer.turn()
    assert renderer.record().error == "", "it is tried again"


def test_a_full_disk_leaves_later_captures_without_pictures(renderer: SupervisedRun) -> None:
    renderer.announce(0)
    renderer.workers[0].draw()
    renderer.turn()
    renderer.record(disk_is_full=True)
    assert renderer.supervisor._drawing.setup.options.pictures == ()
    assert renderer.workers[0].exit_code is not None, "it knows the old options"
    renderer.announce(1)
    assert renderer.workers[-1].draw() == 1


def test_nothing_is_handed_out_before_the_lock_is_held(renderer: SupervisedRun) -> None:
    renderer.lock.is_free = False
    renderer.announce(0)
    renderer.say_goodbye(1)
    assert (renderer.workers, renderer.is_done) == ([], False)
    renderer.lock.is_free = True
    renderer.turn()
    assert renderer.workers[0].draw() == 0


def test_the_run_ends_when_all_is_settled_with_a_last_summary(renderer: SupervisedRun) -> None:
    renderer.announce(0)
    renderer.say_goodbye(captured=1)
    assert not renderer.is_done
    renderer.workers[0].draw()
    renderer.turn()
    assert renderer.record().status.state == "finishing"
    assert renderer.is_done
    renderer.recorder.far_end.end_sending()
    renderer.supervisor.close()
    last = renderer.recorder.unread[-1]
    assert (last.status.state, last.status.pids) == ("closed", ())
    assert (last.status.rendered, last.status.trainer.captured) == (1, 1)
    assert [child.exit_code for child in renderer.children.made] == [0, 0]
    assert renderer.lock.was_released


def test_the_last_summary_is_written_by_another_recorder_if_one_dies_with_it(
    renderer: SupervisedRun,
) -> None:
    renderer.say_goodbye(captured=0)
    renderer.recorder.will_exit_with = 1
    renderer.recorder.far_end.end_sending()
    make = renderer.children.made.append

    def make_one_that_ends(child: FakeChild) -> None:
        child.far_end.end_sending()
        make(child)

    renderer.children.on_fork = make_one_that_ends
    renderer.supervisor.close()
    first, second = renderer.children.of("recorder")
    assert [child.unread[-1].status.state for child in (first, second)] == ["closed", "closed"]
    assert second.unread[-1].dead_writers == ()


def test_a_stopped_renderer_refuses_what_follows_and_finishes_what_it_has(
    renderer: SupervisedRun,
) -> None:
    renderer.announce(0)
    renderer.server.end_sending()
    renderer.turn()
    renderer.announce(1)
    assert renderer.answers() == [Refusal("attnmon-renderer was stopped")]
    assert not renderer.is_done
    renderer.workers[0].draw()
    renderer.turn()
    renderer.record()
    assert renderer.is_done
    assert renderer.reported()[-1].state == "renderer stopped"


def test_the_standalone_renderer_is_told_each_status_once(renderer: SupervisedRun) -> None:
    assert [status.state for status in renderer.reported()] == ["running"]
    renderer.turn()
    assert renderer.reported() == []
    renderer.announce(0)
    assert {status.trainer.captured for status in renderer.reported()} == {1}
