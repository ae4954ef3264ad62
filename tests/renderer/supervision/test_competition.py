"""What is known of free cores, when a probe is sent for one, and what it finds."""

import select

import pytest

from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import LeftOver
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.scheduling import spare_core
from attnmon_renderer.supervision.scheduling.competition import (
    ENOUGH,
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Competition,
    Supply,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("share", "supply"), [(1.0, Supply.SPARE), (ENOUGH, Supply.SPARE), (0.03, Supply.STARVED)]
)
def test_a_probe_tells_whether_a_core_is_free(share: float, supply: Supply) -> None:
    competition = Competition()
    assert (competition.supply, competition.wants_probe()) == (Supply.UNKNOWN, True)
    competition.take_answer(share)
    assert competition.supply is supply
    assert competition.is_starved == (supply is Supply.STARVED)


def test_where_a_core_is_free_nothing_is_probed() -> None:
    clock = Clock()
    competition = Competition(clock)
    competition.take_answer(1.0)
    clock.now += 10 * LONGEST_PAUSE_SECONDS
    assert not competition.wants_probe()


def test_where_none_is_free_it_is_looked_for_now_and_then() -> None:
    clock = Clock()
    competition = Competition(clock)
    competition.take_answer(0.0)
    assert not competition.wants_probe()
    clock.now += FIRST_PAUSE_SECONDS
    assert competition.wants_probe()


def test_the_more_often_a_core_was_found_in_vain_the_rarer_it_is_looked_for() -> None:
    clock = Clock()
    competition = Competition(clock)
    pauses = []
    for _ in range(8):
        competition.take_answer(1.0)
        competition.take_starvation()
        assert competition.is_starved
        started = clock.now
        while not competition.wants_probe():
            clock.now += 1.0
        pauses.append(clock.now - started)
    assert pauses[:3] == [2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS, 8 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_the_probe_says_what_share_of_a_core_it_got() -> None:
    probe = child_process.fork("probe", spare_core.run_probe, set())
    while (packet := probe.channel.receive()) is None:
        select.select([probe.channel], [], [])
    answer = process_messages.decode(packet.data)
    probe.reap()
    assert isinstance(answer, LeftOver)
    assert 0 < answer.share < 1.1


def test_a_share_is_of_the_time_in_which_it_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that goes on by one at each look, and four times as fast as its own time."""
    ticks = iter(range(1_000_000))
    monkeypatch.setattr(spare_core, "WORK_SECONDS", 100)
    monkeypatch.setattr(spare_core.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(spare_core.time, "thread_time", lambda: next(ticks))
    monkeypatch.setattr(spare_core.time, "perf_counter", lambda: 4 * next(ticks))
    assert spare_core.share_left_over() == pytest.approx(0.25, rel=0.05)
