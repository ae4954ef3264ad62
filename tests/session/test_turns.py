"""Which run writes, and which waits: every order in which three runs can be made, wait and end.

A run is its locks and what it has been told of those of others. At any moment one run does one
thing to the locks: its decisions are stopped after each, and gone on with later.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from attnmon.link import directory_lock

LIVE = ("making", "waiting", "writing")


@dataclass(frozen=True)
class ModelRun:
    """One run: its training process, and the renderer that its locks were handed to."""

    ticket: int
    phase: str = "unmade"
    told: tuple[Any, ...] = ()
    """What its decision has been told so far."""
    number: int = 0
    watches: bool = False
    is_queued: bool = False
    has_lock: bool = False

    def over(self, phase: str) -> "ModelRun":
        """Returns it without the locks of a renderer, which the kernel has released."""
        return replace(self, phase=phase, told=(), is_queued=False, has_lock=False)


Runs = tuple[ModelRun, ...]
States = dict[Runs, list[tuple[str, int, Runs]]]
"""By state: what can happen, to which run, and the state after it."""


class Stopped(Exception):
    """The call has done one thing more to the locks."""


class ModelLocks:
    """The locks of one run, in a model of the kernel: answers again what was told before."""

    def __init__(self, runs: Runs, index: int) -> None:
        self.mine = runs[index]
        self._others = [run for at, run in enumerate(runs) if at != index]
        self._told = list(self.mine.told)
        self._is_new = False

    def _do(self, **changed: bool) -> Any:
        return self._answer(lambda: True, changed)

    def _answer(self, ask: Callable[[], bool], changed: dict[str, bool] | None = None) -> bool:
        if self._told:
            return bool(self._told.pop(0))
        if self._is_new:
            raise Stopped
        self._is_new = True
        found = ask()
        self.mine = replace(self.mine, told=(*self.mine.told, found))
        if found and changed:
            self.mine = replace(self.mine, **changed)  # type: ignore[arg-type]
        return found

    def watch(self) -> None:
        self._do(watches=True)

    def take_ticket(self, number: int) -> None:
        assert number == self.mine.ticket
        self._do(is_queued=True)

    def is_somebody_before(self, number: int) -> bool:
        return self._answer(
            lambda: any(run.is_queued and run.ticket < number for run in self._others)
        )

    def lock_writing(self) -> bool:
        is_free = not any(run.has_lock for run in self._others)
        return self._answer(lambda: is_free, {"has_lock": True})

    def is_watched_by_others(self) -> bool:
        return self._answer(lambda: any(run.watches for run in self._others))


def advanced(runs: Runs, index: int) -> ModelRun:
    """Returns the run after one more thing that its call does to the locks."""
    locks = ModelLocks(runs, index)
    run = runs[index]
    try:
        if run.phase == "waiting":
            writes = directory_lock.take_turn(locks, run.number)
            return replace(locks.mine, phase="writing" if writes else "waiting", told=())
        number = directory_lock.queue_up(locks, run.ticket)
    except Stopped:
        return replace(locks.mine, phase="waiting" if run.phase == "waiting" else "making")
    if number is None:
        return replace(locks.mine.over("elsewhere"), watches=False)
    return replace(locks.mine, phase="waiting", number=number, told=())


def successors(runs: Runs, index: int, in_one_go: bool) -> Iterator[tuple[str, ModelRun]]:
    """Yields all that can happen to one run next."""
    run = runs[index]
    if run.phase in ("unmade", "making", "waiting"):
        after = advanced(runs, index)
        while in_one_go and after.told:
            after = advanced((*runs[:index], after, *runs[index + 1 :]), index)
        yield "go on", after
    if run.phase == "making":
        yield "kill", replace(run.over("killed"), watches=False)  # all is the training's still
    if run.phase in ("waiting", "writing"):
        yield "kill", run.over("killed")
    if run.watches and run.phase != "making":
        yield "end", replace(run, watches=False)
    if run.phase == "writing" and not run.watches:
        yield "end", run.over("drawn")


def explored(tickets: tuple[int, ...], in_one_go: bool = False) -> States:
    """Returns every state that can be reached, with what can happen there.

    `in_one_go`: a decision is never interrupted by another.
    """
    found: States = {}
    left = [tuple(ModelRun(ticket) for ticket in tickets)]
    while left:
        runs = left.pop()
        if runs in found:
            continue
        found[runs] = [
            (event, index, (*runs[:index], after, *runs[index + 1 :]))
            for index in range(len(runs))
            for event, after in successors(runs, index, in_one_go)
        ]
        left += [after for _, _, after in found[runs]]
    return found


@pytest.fixture(scope="module", params=[(10, 20, 30), (10, 10, 20)], ids=str)
def states(request: pytest.FixtureRequest) -> States:
    return explored(request.param)


def test_there_is_never_more_than_one_writer(states: States) -> None:
    assert len(states) > 5_000
    for runs in states:
        assert sum(run.phase == "writing" for run in runs) <= 1
        assert sum(run.has_lock for run in runs) <= 1


def test_from_everywhere_all_that_live_come_to_their_end(states: States) -> None:
    """Without another kill: nobody waits for somebody who waits for him, or is dead."""
    before: dict[Runs, list[Runs]] = {}
    for runs, events in states.items():
        for event, _, after in events:
            if event != "kill":
                before.setdefault(after, []).append(runs)
    ended = [runs for runs in states if not any(run.phase in ("unmade", *LIVE) for run in runs)]
    reached, left = set(ended), ended
    while left:
        new = {runs for runs in before.get(left.pop(), ()) if runs not in reached}
        reached |= new
        left += new
    assert states.keys() == reached


def test_who_begins_has_the_lowest_ticket_of_all_that_wait() -> None:
    """Here nothing happens between a look at the tickets and the lock that is taken then."""
    for runs, events in explored((10, 20, 30), in_one_go=True).items():
        for _, index, after in events:
            if after[index].has_lock and not runs[index].has_lock:
                others = (*runs[:index], *runs[index + 1 :])
                tickets = [run.ticket for run in others if run.is_queued]
                assert all(ticket > after[index].ticket for ticket in tickets)
