"""Standard error: what is said there although, or because, nobody has set up logging."""

import contextlib
import logging
import sys


def write(text: str) -> None:
    """Write to standard error; does nothing where there is none, or where it is closed."""
    with contextlib.suppress(Exception):  # a user may have put anything there
        sys.stderr.write(text)
        sys.stderr.flush()


def is_terminal() -> bool:
    """Return whether standard error is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, closed, or something that a user put there
        return False


def receives_warnings_of(logger: logging.Logger) -> bool:
    """Return whether this logger's warnings come out on standard error, as far as can be told."""
    if not logger.isEnabledFor(logging.WARNING):
        return False
    handlers = _handlers_of(logger)
    if not handlers:
        return logging.lastResort is not None
    return any(_writes_warnings_there(handler) for handler in handlers)


def _handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    handlers: list[logging.Handler] = []
    one: logging.Logger | None = logger
    while one is not None:
        handlers += one.handlers
        one = one.parent if one.propagate else None
    return handlers


def _writes_warnings_there(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    there = stream is not None and stream in (sys.stderr, sys.__stderr__)
    return there and handler.level <= logging.WARNING
