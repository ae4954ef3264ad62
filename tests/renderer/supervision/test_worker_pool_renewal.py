"""A child that has worked long enough is followed by a fresh one, and nothing is lost with it."""

import os
import select
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.outputs import check_outputs, history, summary, tensorboard
from support.training_process import run_training

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import (
    CPU_LIMIT_PER_WEIGHT,
    CPU_LIMIT_SECONDS,
    Child,
    resident_bytes,
)
from attnmon_renderer.supervision.worker_pool import WorkerPool

LEAKED_BYTES = 24 << 20


def leak(channel: Channel) -> None:
    """Answer every task, and keep some memory each time, as a library might."""
    kept = []
    try:
        while True:
            select.select([channel], [], [])
            if channel.receive() is not None:
                kept.append(bytearray(b"x") * LEAKED_BYTES)
                channel.send(b"done")
    except ChannelClosed:
        return


class Shift:
    """A pool of one worker, given its tasks one by one; remembers who did them."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self.lost_tasks: list[int | None] = []
        self.pids: list[int] = []
        self.sizes: list[int] = []
        self.pool = WorkerPool("worker", 1, leak, set(), selector, self._done, self._lost)

    def _done(self, child: Child, packet: Packet) -> None:
        self.sizes.append(resident_bytes(child.pid))
        child.finish()

    def _lost(self, child: Child | None, how: str) -> None:
        assert child is not None
        self.lost_tasks.append(child.task)

    def work(self, tasks: int) -> None:
        for task in range(tasks):
            child = self.pool.get_idle()
            assert child is not None, "no more are recruited"
            self.pids.append(child.pid)
            child.assign(task)
            self.pool.send(child, b"task")
            while child.task is not None:
                for key, _ in self.selector.select():
                    key.data()


@contextmanager
def shift() -> Iterator[Shift]:
    with selectors.DefaultSelector() as selector:
        made = Shift(selector)
        yield made
        for child in made.pool.children:
            child.reap()


def test_after_so_many_tasks_it_is_another_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "MOST_TASKS", 1)
    with shift() as made:
        made.work(8)
        assert len(set(made.pids)) == 8, "more deaths than those after which a pool gives up"
        assert made.lost_tasks == [None] * 8, "each ended between two tasks"
        assert not made.pool.children


def test_one_that_grows_is_followed_before_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "MOST_GROWTH", 3 * LEAKED_BYTES)
    with shift() as made:
        made.work(12)
        assert 2 <= len(set(made.pids)) <= 4
        assert max(made.sizes) - min(made.sizes) < 6 * LEAKED_BYTES
        assert set(made.lost_tasks) == {None}


def test_one_that_does_not_grow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with shift() as made:
        made.work(5)
        assert len(set(made.pids)) == 1
        made.pool.replace_all()
        made.work(1)
        assert len(set(made.pids)) == 2, "when it is asked for"


def test_a_run_whose_children_are_renewed_all_the_time_is_like_any_other(tmp_path: Path) -> None:
    """Workers and recorders, after every capture."""
    ran = run_training(
        f"""
        from attnmon.session import renderer_process as launch
        often = "import attnmon_renderer.supervision.child_process as c; c.MOST_TASKS = 1; "
        launch._BOOT = launch._BOOT.replace("from attnmon_r", often + "from attnmon_r")
        model = LanguageModel()
        with LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None) as monitor:
            for step in range(3):
                monitor.log_attention(model, batch(), step=step, loss=1.0)
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path)
    assert (summary(tmp_path)["rendered"], summary(tmp_path)["errors"]) == (3, [])
    assert [line["metadata"]["step"] for line in history(tmp_path)] == list(range(3))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 3, "each recorder has its own events"
    losses = tensorboard(tmp_path).Scalars("train/loss")
    assert [event.step for event in losses] == list(range(3))


def test_a_large_capture_may_take_longer_before_it_is_taken_for_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """32 heads of 32,768 × 32,768 take minutes of processor time, twice as many without a mask."""
    spent = 0.0
    monkeypatch.setattr(child_process, "cpu_seconds", lambda pid: spent)
    ours, theirs = Channel.pair()
    child = Child("worker", os.getpid(), ours)
    child.assign(0, weight_count=2 * 32 * 32768**2)
    spent = 1000.0
    assert not child.is_hung()
    spent = CPU_LIMIT_SECONDS + 2 * 32 * 32768**2 * CPU_LIMIT_PER_WEIGHT + 1
    assert child.is_hung(), "but not for ever"
    child.assign(1, weight_count=32**2)
    spent += CPU_LIMIT_SECONDS + 1
    assert child.is_hung()
    ours.close()
    theirs.close()
