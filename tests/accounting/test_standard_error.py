"""Whether a warning comes out on standard error, in each way that people set up logging."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable

import pytest

from attnmon.accounting import standard_error


@pytest.fixture
def logger() -> logging.Logger:
    """A logger that hears of no handler but its own."""
    return logging.Logger("of a test")


def to(stream: object, level: int = logging.NOTSET) -> Callable[[logging.Logger], None]:
    def set_up(logger: logging.Logger) -> None:
        handler = logging.StreamHandler(stream)  # type: ignore[type-var]
        handler.setLevel(level)
        logger.addHandler(handler)

    return set_up


WAYS: dict[str, tuple[Callable[[logging.Logger], object], bool]] = {
    "nothing set up": (lambda logger: None, True),
    "disabled": (lambda logger: setattr(logger, "disabled", True), False),
    "errors only": (lambda logger: logger.setLevel(logging.ERROR), False),
    "standard error": (lambda logger: to(sys.stderr)(logger), True),
    "standard error, errors only": (lambda logger: to(sys.stderr, logging.ERROR)(logger), False),
    "a file": (to(io.StringIO()), False),
    "null": (lambda logger: logger.addHandler(logging.NullHandler()), False),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_known_whether_a_warning_is_written_there(
    way: str, logger: logging.Logger, capfd: pytest.CaptureFixture[str]
) -> None:
    set_up, expected = WAYS[way]
    set_up(logger)
    assert standard_error.receives(logger, logging.WARNING) == expected
    if not logger.disabled and logger.isEnabledFor(logging.WARNING):
        logger.warning("it is off")
    assert ("it is off" in capfd.readouterr().err) == expected


@pytest.mark.parametrize("stream", [None, io.BytesIO()], ids=["none", "of bytes"])
def test_a_standard_error_that_takes_no_text_is_no_trouble(
    stream: object, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    standard_error.write("nobody reads this")
    assert not standard_error.is_terminal()
    logger.addHandler(logging.NullHandler())
    assert not standard_error.receives(logger, logging.WARNING)


class Wrapped(io.StringIO):
    """As progress bars and loggers put there: it answers no question but is written to."""

    def isatty(self) -> bool:
        raise RuntimeError("no terminal is known")

    def fileno(self) -> int:
        raise NotImplementedError

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it cannot be compared")


def test_a_stream_that_raises_when_it_is_asked_is_written_to(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Wrapped())
    assert not standard_error.is_watched()
    to(sys.stderr)(logger)
    assert standard_error.receives(logger, logging.WARNING)
    standard_error.write("it is off\n")
    assert sys.stderr.getvalue() == "it is off\n"  # type: ignore[attr-defined]


def test_a_pipe_that_nobody_reads_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    with open(reading, "rb", buffering=0) as reader, open(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        standard_error.write("lost\n")
        reader.read(1 << 20)
        standard_error.write("heard\n")
        assert reader.read(1 << 20) == b"heard\n"
