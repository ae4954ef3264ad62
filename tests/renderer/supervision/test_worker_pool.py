"""A pool's children: forked on demand, replaced when they die, given up in a crash loop."""

import selectors
from collections.abc import Iterator

import pytest
from support.fake_children import FakeChild, FakeChildren

from attnmon.link.channel import Packet
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW, WorkerPool


class Owner:
    """A pool of two, and what it has called its owner with."""

    def __init__(self, children: FakeChildren) -> None:
        self.children = children
        self.selector = selectors.DefaultSelector()
        self.packets: list[tuple[Child, bytes]] = []
        self.losses: list[tuple[Child | None, str]] = []
        self.pool = WorkerPool(
            "worker", 2, print, set(), self.selector, self._on_packet, self._on_loss
        )

    def _on_packet(self, child: Child, packet: Packet) -> None:
        self.packets.append((child, packet.data))
        child.finish()

    def _on_loss(self, child: Child | None, how: str) -> None:
        self.losses.append((child, how))

    def busy_child(self) -> FakeChild:
        child = self.pool.get_idle()
        assert isinstance(child, FakeChild)
        child.assign(0)
        return child

    def handle_events(self) -> None:
        for key, _ in self.selector.select(0):
            key.data()


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    children = FakeChildren(monkeypatch)
    made = Owner(children)
    yield made
    made.selector.close()
    children.close()


def test_children_are_forked_one_by_one_when_all_others_are_busy(owner: Owner) -> None:
    assert owner.children.made == []
    first = owner.pool.get_idle()
    assert owner.pool.get_idle() is first, "it is free"
    owner.busy_child()
    second = owner.busy_child()
    assert second is not first
    assert owner.pool.get_idle() is None, "there are two at most"
    assert owner.pool.children == owner.children.made


def test_what_a_child_sends_is_passed_on_and_frees_it(owner: Owner) -> None:
    child = owner.busy_child()
    owner.pool.send(child, b"task")
    packet = child.far_end.receive()
    assert packet is not None
    assert packet.data == b"task"
    child.far_end.send(b"done")
    owner.handle_events()
    assert owner.packets == [(child, b"done")]
    assert owner.pool.get_idle() is child


def test_a_dead_child_is_reported_with_its_task_and_replaced(owner: Owner) -> None:
    child = owner.busy_child()
    child.kill()
    owner.pool.send(child, b"task")  # nobody receives it, and nothing is raised
    owner.handle_events()
    assert owner.losses == [(child, "the worker died")]
    assert child.task == 0, "the owner learns what it was at"
    assert list(owner.pool.lost_pids) == [child.pid]
    assert owner.pool.get_idle() not in (None, child)


def test_a_crash_loop_ends_unless_a_task_is_finished_in_between(owner: Owner) -> None:
    for death in range(MOST_DEATHS_IN_A_ROW):
        assert not owner.pool.exhausted, death
        owner.busy_child().kill()
        owner.handle_events()
    assert owner.pool.exhausted
    assert owner.pool.get_idle() is None
    owner.pool.reset_deaths()
    child = owner.busy_child()
    child.far_end.send(b"done")
    child.far_end.close()
    owner.handle_events()
    assert not owner.pool.exhausted
    for _ in range(MOST_DEATHS_IN_A_ROW - 1):
        owner.busy_child().kill()
        owner.handle_events()
    assert not owner.pool.exhausted, "the count began anew"


def test_a_fork_that_fails_counts_as_a_death_and_names_its_reason(owner: Owner) -> None:
    owner.children.fork_fails = True
    for _ in range(MOST_DEATHS_IN_A_ROW + 3):
        assert owner.pool.get_idle() is None
    assert [child for child, _ in owner.losses] == [None] * MOST_DEATHS_IN_A_ROW
    assert "no room for a process" in owner.losses[0][1]
    assert owner.pool.exhausted


def test_a_child_that_does_not_receive_is_killed(owner: Owner) -> None:
    child = owner.busy_child()
    while child.channel.send(bytes(60_000)):
        pass
    owner.pool.send(child, b"one more")
    owner.handle_events()
    assert owner.losses == [(child, "the worker died")]


def test_all_are_replaced_when_they_are_free(owner: Owner) -> None:
    busy = owner.busy_child()
    free = owner.pool.get_idle()
    owner.pool.replace_all()
    assert owner.pool.children == [busy], "what it draws is not lost"
    assert owner.losses == [(free, "the worker died")]
    busy.far_end.send(b"done")
    owner.handle_events()
    assert owner.pool.children == []
    assert owner.packets == [(busy, b"done")]


def test_a_child_that_hangs_is_killed_and_one_without_a_task_is_not(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, _ = owner.busy_child(), owner.pool.get_idle()
    monkeypatch.setattr(child_process, "cpu_seconds", lambda pid: 1e9)
    owner.pool.kill_hung()
    owner.handle_events()
    assert [child for child, _ in owner.losses] == [hung]
