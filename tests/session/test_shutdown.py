"""The end: goodbye, the last acknowledgements, and a line for those who wait."""

import io
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.streams import TerminalStream

from attnmon.session import shutdown
from attnmon.session.shutdown import shut_down, summary_line


class Producer:
    """Ends after so many messages; has no room for a goodbye at first, if a test says so."""

    def __init__(self, messages: int, refused_goodbyes: int = 0) -> None:
        self.pending = messages
        self.lost = False
        self.refused = refused_goodbyes
        self.log: list[str] = []

    def send_goodbye(self) -> bool:
        self.log.append("goodbye")
        self.refused -= 1
        return self.refused < 0

    def wait_for_message(self, seconds: float) -> None:
        assert 0 < seconds <= shutdown.POLL_SECONDS
        self.log.append("wait")
        self.pending -= 1
        self.lost = self.pending == 0

    def poll(self) -> None:
        self.log.append("poll")


def end(producer: Any, seconds: float = 60.0) -> list[str]:
    shut_down(producer, producer.poll, time.monotonic() + seconds)
    log: list[str] = producer.log
    return log


def test_it_reads_until_the_renderer_has_ended() -> None:
    assert end(Producer(2)) == ["goodbye", "wait", "poll", "wait", "poll"]


def test_a_goodbye_that_there_was_no_room_for_is_said_again() -> None:
    log = end(Producer(3, refused_goodbyes=2))
    assert log == ["goodbye", "wait", "goodbye", "poll", "wait", "goodbye", "poll", "wait", "poll"]


def test_the_user_who_does_not_wait_says_goodbye_all_the_same() -> None:
    assert end(Producer(5), seconds=0) == ["goodbye"]


def test_who_waits_long_sees_on_a_terminal_how_many_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := TerminalStream())
    monkeypatch.setattr(shutdown, "PROGRESS_AFTER_SECONDS", 0.0)
    end(Producer(2))
    assert "drawing the last captures, 1 of 2 left" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\033[K"), "and the line is gone at the end"


def test_who_waits_for_the_upload_alone_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uploading(Producer):
        def wait_for_message(self, seconds: float) -> None:
            self.lost = self.pending == 0
            self.pending = max(self.pending - 1, 0)

    monkeypatch.setattr(sys, "stderr", terminal := TerminalStream())
    monkeypatch.setattr(shutdown, "PROGRESS_AFTER_SECONDS", 0.0)
    producer: Any = Uploading(1)
    shut_down(producer, producer.poll, time.monotonic() + 60, "s3://bucket/run")
    assert "all is drawn; uploading what is left to s3://bucket/run" in terminal.getvalue()


def test_a_file_gets_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    monkeypatch.setattr(shutdown, "PROGRESS_AFTER_SECONDS", 0.0)
    end(Producer(2))
    assert stream.getvalue() == ""


def test_the_accounts_are_one_line() -> None:
    accounts = {
        "captured": 9, "rendered": 5, "dropped": 1, "failed": 1, "pending": 2, "hook_seconds": 0.25,
    }  # fmt: skip
    line = summary_line(accounts, Path("out"))
    assert line == (
        "attnmon: 9 captured, 5 rendered, 1 dropped, 1 failed, 2 still being drawn; "
        "0.250 s in the training process; see out"
    )
    assert "still" not in summary_line({**accounts, "pending": 0}, Path("out"))


def test_who_waits_where_no_line_is_kept_up_to_date_reads_it_in_the_log_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(shutdown, "PROGRESS_AFTER_SECONDS", 0.0)
    with caplog.at_level("INFO", "attnmon"):
        end(Producer(3))
    assert caplog.messages == ["attnmon: drawing the last captures, 2 of 3 left"]
