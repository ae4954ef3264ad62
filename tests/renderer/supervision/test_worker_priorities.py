"""Who draws at which priority, one by one or side by side, and what is counted as competing."""

import os
import select
import selectors
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.fake_children import FakeChildren
from support.supervised_run import SupervisedRun

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon.link.messages import Acknowledgement
from attnmon_renderer.process_messages import Drawn, LeftOver, ResultsWritten
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.run_state import RunState
from attnmon_renderer.supervision.scheduling.competition import Supply
from attnmon_renderer.supervision.scheduling.priority import BURST_NICE
from attnmon_renderer.supervision.worker_pool import OnLoss, OnPacket, WorkerPool
from attnmon_renderer.supervision.worker_priorities import PROBE_SECONDS, WorkerPriorities

NewRun = Callable[[Supply], SupervisedRun]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[NewRun]:
    made: list[SupervisedRun] = []

    def new(supply: Supply) -> SupervisedRun:
        made.append(SupervisedRun(FakeChildren(monkeypatch), supply))
        return made[-1]

    yield new
    for run in made:
        run.close()


def draw(run: SupervisedRun, worker: int = -1, seconds: float = 0.0) -> int:
    """Have a worker draw what it was given."""
    capture = run.workers[worker].received_capture()
    assert capture is not None, "nothing to draw"
    run.workers[worker].send(Drawn(capture.sequence, seconds=seconds), b"results")
    run.turn()
    return capture.sequence


def test_the_first_capture_is_drawn_alone_and_then_a_free_core_is_looked_for(start: NewRun) -> None:
    run = start(Supply.UNKNOWN)
    run.announce(0, 1, 2)
    assert len(run.workers) == 1
    assert draw(run) == 0
    [probe] = run.children.of("probe")
    assert probe.pid not in run.supervisor._run.status().pids, "it is gone when that is read"
    assert run.workers[0].received_capture() is None, "what draws would mislead the probe"
    probe.send(LeftOver(0.9))
    run.turn()
    assert [worker.received_capture() is None for worker in run.workers] == [False, False]
    assert not run.supervisor._run.status().starved


def test_where_no_core_is_free_one_worker_draws_at_a_time(start: NewRun) -> None:
    run = start(Supply.UNKNOWN)
    run.announce(0, 1, 2)
    draw(run)
    run.children.of("probe")[0].send(LeftOver(0.02))
    run.turn()
    assert draw(run) == 1
    assert draw(run) == 2
    assert len(run.workers) == 1
    assert run.workers[0].level == "bursts"
    assert run.supervisor._run.status().starved


def test_a_probe_that_gets_no_time_at_all_has_found_no_core(
    start: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(Supply.UNKNOWN)
    run.announce(0, 1)
    draw(run)
    priorities = run.supervisor._drawing.priorities
    assert run.supervisor._timeout() == PROBE_SECONDS
    monkeypatch.setattr(priorities, "_probe_started", priorities._probe_started - PROBE_SECONDS)
    run.turn()
    assert run.supervisor._run.status().starved
    assert draw(run) == 1


def test_a_probe_that_dies_is_followed_by_another(start: NewRun) -> None:
    run = start(Supply.UNKNOWN)
    run.announce(0, 1)
    draw(run)
    run.children.of("probe")[0].kill()
    run.turn()
    assert draw(run) == 1
    assert len(run.children.of("probe")) == 2


def test_what_idle_workers_hardly_get_on_with_is_drawn_by_another(
    start: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(Supply.SPARE)
    run.announce(0, 1)
    for worker in (0, 1):
        draw(run, worker)
    run.announce(2, 3)
    late = run.workers
    assert {worker.level for worker in late} == {"idle"}
    monkeypatch.setattr(late[1], "is_starved", lambda: True)
    run.turn()
    assert [worker.exit_code is None for worker in run.workers] == [False, False, True]
    assert [draw(run), draw(run)] == [2, 3]
    assert [entry.draw_tries for entry in run.supervisor._run.ledger] == [1, 1, 1, 1]
    assert run.supervisor._run.errors == type(run.supervisor._run.errors)()


def test_at_the_end_nothing_is_probed_and_all_workers_draw(start: NewRun) -> None:
    run = start(Supply.UNKNOWN)
    run.announce(0, 1, 2)
    run.say_goodbye(captured=3)
    assert len(run.workers) == 2
    draw(run, 0)
    assert run.children.of("probe") == []


@pytest.mark.parametrize(("supply", "counted"), [(Supply.STARVED, True), (Supply.SPARE, False)])
def test_what_drawing_takes_counts_where_no_core_is_free(
    supply: Supply, counted: bool, start: NewRun
) -> None:
    """All processes together; but not what a worker takes to start, with its first capture."""
    run = start(supply)
    competed = []
    for sequence, seconds in enumerate((10.0, 0.25)):
        run.announce(sequence)
        draw(run, 0, seconds)
        run.task()
        run.recorder.send(ResultsWritten(sequence, seconds=0.5))
        run.turn()
        [answer] = [each for each in run.answers() if isinstance(each, Acknowledgement)]
        competed.append(answer.competed)
    if counted:
        assert 0.5 < competed[0] < 10
        assert 0.75 < competed[1] < 10
    else:
        assert competed == [0.0, 0.0]


def answer_all(channel: Channel) -> None:
    try:
        while True:
            select.select([channel], [], [])
            if channel.receive() is not None:
                channel.send(b"done")
    except ChannelClosed:
        return


@contextmanager
def real_worker() -> Iterator[tuple[RunState, WorkerPriorities, Child]]:
    """A process that has finished its first capture, still at normal priority."""
    run = RunState()
    with selectors.DefaultSelector() as selector:

        def no_packet(child: Child, packet: Packet) -> None: ...

        def no_loss(child: Child | None, how: str) -> None: ...

        def probes(on_packet: OnPacket, on_loss: OnLoss) -> WorkerPool:
            return WorkerPool("probe", 0, answer_all, set(), selector, on_packet, on_loss)

        pool = WorkerPool("worker", 1, answer_all, set(), selector, no_packet, no_loss)
        priorities = WorkerPriorities(run, pool, probes)
        child = pool.get_idle()
        assert child is not None
        child.assign(0)
        child.finish()
        yield run, priorities, child
        pool.dismiss(child)


def test_a_worker_is_lowered_step_by_step() -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with real_worker() as (run, priorities, worker):
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == usual
        run.competition.supply = Supply.STARVED
        priorities.adjust(worker)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == max(BURST_NICE, usual)
        run.competition.supply = Supply.SPARE
        priorities.adjust(worker)
        assert os.sched_getscheduler(worker.pid) == os.SCHED_IDLE


def test_a_long_first_capture_does_not_stay_at_normal_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with real_worker() as (_, priorities, worker):
        worker.assign(1)
        monkeypatch.setattr(child_process, "cpu_seconds", lambda pid: 1e3)
        assert priorities.review() == []
        assert worker.level == "bursts"
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) >= BURST_NICE


def test_a_child_is_starved_if_it_waits_for_the_processor_and_hardly_gets_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with real_worker() as (_, _, worker):
        assert not worker.is_starved(), "it has nothing to do"
        worker.assign(1)
        assert not worker.is_starved(), "it has just begun"
        monkeypatch.setattr(worker, "_assigned", worker._assigned - 100)
        monkeypatch.setattr(child_process, "process_state", lambda pid: "R")
        assert worker.is_starved()
        monkeypatch.setattr(child_process, "process_state", lambda pid: "D")
        assert not worker.is_starved(), "it waits for the disk"
        monkeypatch.setattr(child_process, "process_state", lambda pid: "R")
        monkeypatch.setattr(child_process, "cpu_seconds", lambda pid: 50.0)
        assert not worker.is_starved(), "it has half a core"
