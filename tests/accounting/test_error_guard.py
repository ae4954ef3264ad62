"""The guard: no error of ours gets out, every error of the user's does."""

import io
import logging
import signal
import sys

import pytest
from support.streams import TerminalStream

from attnmon.accounting import error_guard
from attnmon.accounting.error_guard import ErrorGuard


def test_an_error_of_ours_is_warned_about_once_and_goes_no_further(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = ErrorGuard()
    for _ in range(2):
        with guard:
            raise RuntimeError("ours")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "ours" in record.getMessage()
    assert "test_error_guard.py" in record.getMessage()


def test_three_failures_in_a_row_switch_it_off_and_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = ErrorGuard()
    for _ in range(3):
        with guard:
            raise RuntimeError("ours")
    assert guard.off
    assert "off from now on" in caplog.records[-1].getMessage()


def test_a_success_in_between_keeps_it_on() -> None:
    guard = ErrorGuard()
    for _ in range(6):
        with guard:
            raise RuntimeError("ours")
        guard.succeeded()
    assert not guard.off


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_meant_to_end_the_program_does(error: type[BaseException]) -> None:
    with pytest.raises(error), ErrorGuard():
        raise error


def test_an_error_that_a_signal_handler_raises_inside_our_code_reaches_the_user() -> None:
    """torch tells of a dead DataLoader worker like this; swallowed, training would hang."""

    def handler(number: int, frame: object) -> None:
        raise RuntimeError("DataLoader worker is killed")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(RuntimeError, match="DataLoader"), ErrorGuard():
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_said_is_kept_also_where_nobody_hears_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("attnmon"), "disabled", True)
    guard = ErrorGuard()
    for number in range(100):
        guard.warn_once(str(number), f"warning {number} {'x' * 1000}")
        guard.warn_once(str(number), "the same")
    guard.set_not_seen(["decoder: a softmax over channels"])
    assert capsys.readouterr().err == ""
    guard.switch_off("no room")
    guard.switch_off("another reason")
    assert capsys.readouterr().err == "attnmon is off from now on, training goes on: no room\n"
    said = guard.remarks.figures()
    assert said["off"] == "no room"
    assert said["not_seen"] == ["decoder: a softmax over channels"]
    assert [text.split()[1] for text in said["warnings"]] == [str(n) for n in range(20)]
    assert max(map(len, said["warnings"])) == 500


def test_it_is_said_on_standard_error_once_if_logging_does_so_already(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logger = logging.getLogger("attnmon")
    logger.addHandler(handler)
    ErrorGuard().switch_off("no room")
    logger.removeHandler(handler)
    assert capsys.readouterr().err.count("no room") == 1


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """In the place of attnmon's, one that hears of no handler but its own."""
    made = logging.Logger("of a test")
    monkeypatch.setattr(error_guard, "logger", made)
    return made


class Notebook(io.StringIO):
    """Has the name of what a notebook puts in the place of standard error."""


Notebook.__module__ = "ipykernel.iostream"


@pytest.mark.parametrize(
    ("stream", "is_shown"), [(TerminalStream(), True), (Notebook(), True), (io.StringIO(), False)]
)
def test_a_line_is_announced_where_somebody_watches(
    stream: io.StringIO, is_shown: bool, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    error_guard.announce("writes to here")
    assert stream.getvalue() == ("writes to here\n" if is_shown else "")


def test_what_the_log_shows_on_the_terminal_is_not_said_there_again(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream := TerminalStream())
    logger.addHandler(logging.StreamHandler(stream))
    error_guard.announce("once")
    assert stream.getvalue() == "once\n"


def test_a_handler_that_raises_keeps_nobody_from_being_told(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Raises(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("the log server is away")

    logger.addHandler(Raises())
    monkeypatch.setattr(sys, "stderr", stream := TerminalStream())
    error_guard.announce("writes to here")
    assert stream.getvalue() == "writes to here\n"
    ErrorGuard().warn_once("kind", "and goes on")
