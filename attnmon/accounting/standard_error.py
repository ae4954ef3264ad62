"""Standard error: what is said there although, or because, nobody has set up logging."""

import contextlib
import logging
import select
import sys


def write(text: str) -> None:
    """Write to standard error; does nothing where there is none, or where it takes nothing now."""
    with contextlib.suppress(Exception):  # a user may have put anything there
        if _takes_text_now():
            sys.stderr.write(text)
            sys.stderr.flush()


def is_watched() -> bool:
    """Return whether standard error is a terminal, or the output of a notebook's cell."""
    return is_terminal() or type(sys.stderr).__module__.partition(".")[0] == "ipykernel"


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    try:
        return bool(sys.stderr.isatty())
    except Exception:  # None, closed, or something that a user put there
        return False


def receives(logger: logging.Logger, level: int) -> bool:
    """Return whether this logger's lines of a level come out there, as far as can be told."""
    if not logger.isEnabledFor(level):
        return False
    last_resort = [logging.lastResort] if logging.lastResort is not None else []
    handlers = handlers_of(logger) or last_resort
    return any(level >= handler.level and _writes_there(handler) for handler in handlers)


def handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that get a logger's lines: its own and those above it."""
    handlers: list[logging.Handler] = []
    one: logging.Logger | None = logger
    while one is not None:
        handlers += one.handlers
        one = one.parent if one.propagate else None
    return handlers


def _writes_there(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and (stream is sys.stderr or stream is sys.__stderr__)


def _takes_text_now() -> bool:
    """Return whether a write would not wait for a reader; True for what is no file."""
    try:
        return bool(select.select([], [sys.stderr.fileno()], [], 0)[1])
    except Exception:  # whatever a user's own stream makes of the question
        return True
