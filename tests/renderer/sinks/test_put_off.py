"""What is asked for often is done seldom."""

import time

import pytest

from attnmon_renderer.sinks.put_off import PutOff


def test_it_is_done_at_once_and_again_after_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    writing = PutOff(5.0)
    assert writing.seconds_left is None, "nobody has asked for it"
    writing.ask()
    assert writing.seconds_left == 0
    writing.begin()
    assert writing.seconds_left is None
    writing.ask(), writing.ask()
    assert writing.seconds_left == 5.0
    now += 7
    assert writing.seconds_left == 0
