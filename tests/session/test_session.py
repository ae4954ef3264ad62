"""The life of a session, with a connection that only keeps a log."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnmon.config.option_table import Settings
from attnmon.config.settings import checked_settings
from attnmon.link.channel import ChannelClosed
from attnmon.link.records.training_accounts import Remarks
from attnmon.serialize.capture_builder import CaptureBuilder
from attnmon.serialize.step_info import StepInfo
from attnmon.session import session as session_module
from attnmon.session.session import CLOSED, Session
from attnmon.session.startup import NotOpened

STEP = StepInfo(3, by_epoch=False, epoch=None, loss=None, lr=None)


class Connection:
    """A renderer, a producer and a serializer in one: each call is a line of the log."""

    def __init__(self, settings: Settings, log: list[str]) -> None:
        self.settings = replace(settings, save_dir=settings.save_dir / "monitor_2")
        self.log = log
        self.producer = self.renderer = self.serializer = self.channel = self
        self.was_taken = False
        self.lost, self.refusal, self.pending = False, "", 0
        self.notices: list[tuple[str, str]] = []
        self.remarks: list[Remarks] = []
        self.on_goodbye: Callable[[], None] = lambda: None

    # The producer's part

    def new_builder(self, **about: Any) -> str:
        return f"a builder of {sorted(about.items())}"

    def poll(self) -> bool:
        self.log.append("poll")
        return not self.lost

    @property
    def has_news(self) -> bool:
        return bool(self.notices or self.refusal)

    def pop_notices(self) -> list[tuple[str, str]]:
        notices, self.notices = self.notices, []
        return notices

    def pop_alerts(self) -> list[Any]:
        return []

    def pop_verdicts(self) -> list[tuple[str, str]]:
        return []

    def send_remarks(self, remarks: Remarks) -> bool:
        self.remarks.append(remarks)
        return True

    def send_goodbye(self) -> bool:
        self.log.append("goodbye")
        self.on_goodbye()
        return True

    def wait_for_message(self, seconds: float) -> None:
        self.log.append("wait for a message")
        self.lost, self.pending = True, 0

    # The renderer's part

    def last_words(self) -> str:
        return "MemoryError"

    def wait(self, seconds: float) -> bool:
        self.log.append("wait for its end")
        return True

    # Its own

    def end_unused(self) -> bool:
        return False

    def abandon(self) -> None:
        self.log.append("abandon")

    def close(self) -> None:
        self.log.append("close")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return checked_settings(options={}, save_dir=tmp_path, close_timeout=60.0)


class Opened:
    """A session whose connection can be looked at."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.connection = Connection(settings, self.log)
        monkeypatch.setattr(session_module, "open_connection", lambda *_: self.connection)
        self.session = Session(settings)


@pytest.fixture
def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Opened(settings, monkeypatch)
    yield made
    made.session.close(timeout=0)


def never() -> CaptureBuilder:
    raise AssertionError("nothing is collected for a session that is off")


def test_it_writes_where_the_connection_says(opened: Opened, settings: Settings) -> None:
    assert opened.session.guard.off == ""
    assert opened.session.accounts()["save_dir"] == str(settings.save_dir / "monitor_2")
    assert opened.log == [], "construction waits for nothing"


@pytest.mark.parametrize("value", ["1", "yes"])
def test_a_variable_switches_it_off(
    value: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNMON_DISABLE", value)
    must_be_off(Session(settings), "ATTNMON_DISABLE is set")


def test_another_rank_is_off(settings: Settings) -> None:
    session = Session(replace(settings, rank=1, world_size=2, ranks="zero"))
    must_be_off(session, "rank 1 is not among ranks='zero'")


def test_without_a_renderer_it_is_off_and_says_why(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise NotOpened("no shared memory to be had")

    monkeypatch.setattr(session_module, "open_connection", refuse)
    must_be_off(Session(settings), "no shared memory to be had")
    assert "attnmon is off from now on" in caplog.text


def must_be_off(session: Session, why: str) -> None:
    assert session.guard.off == why
    assert session.publish(STEP, never), "it is not asked for again"
    assert session.retain(STEP, never)
    session.dump("why")
    session.announce_completed()
    session.poll()
    assert not session.has_pending_copies
    accounts = session.close()
    assert accounts["captured"] == accounts["pending"] == 0
    assert session.guard.off == why, "and not that it is closed"


def test_what_it_publishes_goes_through_its_publisher(opened: Opened) -> None:
    def collect() -> CaptureBuilder:
        opened.log.append("collect")
        return CaptureBuilder(opened.connection)  # type: ignore[arg-type]

    opened.connection.free = lambda runs: None  # type: ignore[attr-defined]
    assert opened.session.publish(STEP, collect)
    assert opened.log == ["collect", "poll"]
    opened.session.guard.switch_off("three failures in a row")
    assert opened.session.publish(STEP, never)


def test_it_polls_until_the_renderer_is_lost(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    opened.connection.notices = [("disk", "the disk is nearly full")]
    opened.session.poll()
    assert "the disk is nearly full" in caplog.text
    opened.connection.lost = True
    opened.session.poll()
    assert opened.log == ["poll"], "there is nobody to poll"


def test_the_end_of_the_renderer_switches_it_off(opened: Opened) -> None:
    def ends() -> bool:
        opened.connection.lost = True
        return False

    opened.connection.poll = ends  # type: ignore[method-assign]
    opened.session.poll()
    assert opened.session.guard.off == "the renderer has gone (MemoryError)"


def test_a_channel_that_closes_under_a_capture_switches_it_off(opened: Opened) -> None:
    def collect() -> CaptureBuilder:
        raise ChannelClosed

    opened.connection.is_pending = lambda sequence: False  # type: ignore[attr-defined]
    opened.session.publish(STEP, collect)
    assert opened.session.guard.off == "the renderer has gone (MemoryError)"
    accounts = opened.session.accounts()
    assert (accounts["captured"], accounts["failed"]) == (1, 1)


def test_a_refusal_switches_it_off_with_the_renderers_reason(opened: Opened) -> None:
    opened.connection.refusal = "the disk budget is used up"
    opened.session.poll()
    assert opened.session.guard.off == ("the renderer takes in no more: the disk budget is used up")


def test_it_closes_in_order_and_once(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    opened.connection.pending = 1
    caplog.set_level("INFO")
    accounts = opened.session.close()
    assert opened.log == ["goodbye", "wait for a message", "wait for its end", "close"]
    assert (opened.session.closed, opened.session.guard.off) == (True, CLOSED)
    assert opened.session.close() == accounts
    assert len([r for r in caplog.records if "captured" in r.getMessage()]) == 1


def test_what_is_not_drawn_in_time_stays_pending(opened: Opened) -> None:
    opened.connection.pending = 2
    assert opened.session.close(timeout=0)["pending"] == 2
    assert "wait for a message" not in opened.log
    assert opened.log[-1] == "close"
    opened.connection.pending = 0
    assert opened.session.accounts()["pending"] == 2, "the connection is not asked any more"


def test_an_error_at_the_end_is_only_warned_of(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("odd")

    opened.connection.on_goodbye = fail
    opened.session.close()
    assert "attnmon did not close in order: OSError: odd" in caplog.text
    assert opened.log[-1] == "close"


def test_ctrl_c_at_the_end_propagates_after_the_connection_is_closed(opened: Opened) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    opened.connection.on_goodbye = interrupt
    with pytest.raises(KeyboardInterrupt):
        opened.session.close()
    assert opened.log[-1] == "close"
    assert opened.session.guard.off == CLOSED


def test_a_forked_child_abandons_it_and_closes_nothing(opened: Opened) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        opened.session.close()
        os.write(writing, f"{opened.log}: {opened.session.guard.off}".encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as said:
        assert said.read() == "['abandon']: this is a forked child of the training process"
    os.waitpid(child, 0)
    assert (opened.log, opened.session.guard.off) == ([], "")


def test_a_closed_session_has_nothing_to_abandon(opened: Opened) -> None:
    opened.session.close()
    opened.session.abandon()
    assert opened.session.guard.off == CLOSED
    assert "abandon" not in opened.log
