"""Keeps attnmon's own errors out of the training.

Every call into attnmon during training runs inside `ErrorGuard`. An error of ours is warned about
once and counted, and training goes on; after three in a row the monitor switches itself off.

What it says goes to the log, and is kept: scripts disable loggers, some without knowing it.
"""

import inspect
import logging
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from types import CodeType, FrameType, TracebackType
from typing import Literal

from attnmon.accounting import standard_error
from attnmon.link.records.training_accounts import LONGEST_ERROR, MOST_REMARKS, NO_REMARKS

FAILURES_BEFORE_OFF = 3
"""Failures in a row after which the monitor switches itself off."""

LONGEST_WORDS = 1000
"""Characters of an error's own text that are repeated: some hold what they failed at."""
LONGEST_LINE = 4000
"""Characters of a line in the log."""

logger = logging.getLogger("attnmon")


class ErrorGuard:
    """A context that lets no error of ours out, and every error of the user's; and its warnings."""

    def __init__(self) -> None:
        self.failures_in_a_row = 0
        self.remarks = NO_REMARKS
        """What was said so far. It is replaced by another object whenever there is more."""
        self._warned: set[str] = set()

    @property
    def off(self) -> str:
        """Why the monitor is off; empty while it is on."""
        return self.remarks.off

    def set_off(self, reason: str) -> None:
        """Switch the monitor off for good without a word; does nothing if it is off already."""
        if not self.off:
            self.remarks = replace(self.remarks, off=reason[:LONGEST_ERROR])

    def switch_off(self, reason: str) -> None:
        """Switch the monitor off for good, and say so once, in the log and on standard error."""
        if self.off:
            return
        self.set_off(reason)
        text = f"attnmon is off from now on, training goes on: {shortened(reason, LONGEST_LINE)}"
        heard = standard_error.receives(logger, logging.WARNING)
        _warn(text)
        if not heard:
            standard_error.write(f"{text}\n")

    def warn_once(self, kind: str, text: str) -> None:
        """Warn once for each kind; through `logging`, since `warnings` can be told to raise."""
        if kind in self._warned:
            return
        self._warned.add(kind)
        warnings = (*self.remarks.warnings, text[:LONGEST_ERROR])[:MOST_REMARKS]
        self.remarks = replace(self.remarks, warnings=warnings)
        _warn(shortened(text, LONGEST_LINE))

    def set_not_seen(self, rows: Iterable[str]) -> None:
        """Replace the list of what is not seen, one line for each module."""
        not_seen = tuple(row[:LONGEST_ERROR] for row in rows)[:MOST_REMARKS]
        if not_seen != self.remarks.not_seen:
            self.remarks = replace(self.remarks, not_seen=not_seen)

    def failed(self, kind: str, text: str) -> None:
        """Count a capture that failed: warn once for each kind, switch off after three in a row."""
        self.failures_in_a_row += 1
        self.warn_once(kind, text)
        if self.failures_in_a_row >= FAILURES_BEFORE_OFF:
            self.switch_off(f"{self.failures_in_a_row} captures in a row failed, the last: {text}")

    def succeeded(self) -> None:
        """Count a capture that went well: failures are no longer in a row."""
        self.failures_in_a_row = 0

    def tolerant(self) -> "_Tolerance":
        """Return a context that lets no error of ours out, and warns once; no capture failed."""
        return _Tolerance(self)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False] | bool:
        return _is_ours(error, traceback, self.failed)


class _Tolerance:
    __slots__ = ("_guard",)

    def __init__(self, guard: ErrorGuard) -> None:
        self._guard = guard

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        return _is_ours(error, traceback, self._guard.warn_once)


def _is_ours(
    error: BaseException | None, traceback: TracebackType | None, tell: Callable[[str, str], None]
) -> bool:
    """Return whether an error is ours, and ends here; `tell` is given its kind and its words."""
    if not isinstance(error, Exception) or comes_from_signal_handler(traceback):
        return False
    tell(location_of(error), describe(error))
    drop_frames(error)
    return True


def announce(text: str) -> None:
    """Say a line that is no warning, in the log, and where somebody watches."""
    heard = standard_error.receives(logger, logging.INFO)
    _log(logging.INFO, text)
    if standard_error.is_watched() and not heard:
        standard_error.write(f"{text}\n")


def inform(text: str) -> None:
    """Say a line in the log alone, that is no warning."""
    _log(logging.INFO, text)


def say(text: str) -> None:
    """Say a line as a warning, as often as it is to be said."""
    _warn(shortened(text, LONGEST_LINE))


def _warn(text: str) -> None:
    _log(logging.WARNING, text if _is_named(text) else f"attnmon: {text}")


def _log(level: int, text: str) -> None:
    try:
        logger.log(level, "%s", text)
    except Exception as error:  # a handler of the user's that raises: not because of us
        if comes_from_signal_handler(error.__traceback__):
            raise


def _is_named(text: str) -> bool:
    """Return whether a line says whose it is: by itself, or by the format that a user set up."""
    return text.startswith("attnmon") or bool(standard_error.handlers_of(logger))


def drop_frames(error: BaseException) -> None:
    """Drop the traceback of an error that ends here.

    Looking into its frames has made a reference cycle of them and the error. What they hold, such
    as the ring, would live until a garbage collection, which many trainings switch off.
    """
    error.__traceback__ = None


def describe(error: BaseException) -> str:
    """Return the error in one line, with the line of code that raised it."""
    location = location_of(error)
    return f"{type(error).__name__}: {words_of(error)}" + (f" ({location})" if location else "")


def shortened(text: str, most: int) -> str:
    """Return a text's first characters, and a mark if there were more."""
    return text if len(text) <= most else f"{text[:most]} …"


def words_of(given: object) -> str:
    """Return the start of `str(given)`, also where that raises."""
    try:
        return shortened(str(given), LONGEST_WORDS)
    except Exception:
        return "(it cannot be put into words)"


def location_of(error: BaseException) -> str:
    """Return the line of code that raised it; errors of one line are of one kind."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    code = traceback.tb_frame.f_code
    return f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}"


def comes_from_signal_handler(traceback: TracebackType | None) -> bool:
    """Return whether a signal handler that happened to run inside our code raised the error.

    torch's handler for a dead DataLoader worker raises wherever the main thread is. Swallowed
    here, training would wait for ever for a batch that never comes.
    """
    handlers = _handler_codes()
    interrupted: FrameType | None = None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in handlers or _has_signal_arguments(interrupted, frame):
            return True
        interrupted, traceback = frame, traceback.tb_next
    return False


def _handler_codes() -> set[CodeType]:
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = (getattr(handler, "__code__", None) for handler in handlers)
    return {code for code in codes if isinstance(code, CodeType)}


def _has_signal_arguments(interrupted: FrameType | None, frame: FrameType) -> bool:
    """Return whether this frame's arguments contain a number and the frame that it interrupted.

    That is how Python calls a handler: also one that is a partial or an object, or that has
    installed another one before it raised.
    """
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    given: list[object] = []
    for name in code.co_varnames[:count]:
        value = frame.f_locals.get(name)
        # The type, not `isinstance`: a user's object may raise when it is asked for its class.
        given += value if type(value) is tuple else (value,)
    return any(
        type(number) is int and interrupted is not None and there is interrupted
        for number, there in pairwise(given)
    )
