"""What may not happen: that watching a training stops it.

Every entry into attnmon during training runs inside `ErrorGuard`. An error of ours is warned about
once, counted, and training goes on; after three in a row the monitor switches itself off.
"""

import inspect
import logging
import signal
from itertools import pairwise
from types import CodeType, FrameType, TracebackType
from typing import Literal

FAILURES_BEFORE_OFF = 3

logger = logging.getLogger("attnmon")


class ErrorGuard:
    """A context that lets no error of ours out, and every error of the user's."""

    def __init__(self) -> None:
        self.failures_in_a_row = 0
        self.off: str = ""
        """Why the monitor has switched itself off; empty while it is on."""
        self._warned: set[str] = set()

    def warn_once(self, kind: str, text: str) -> None:
        """Warn, once for each kind; through `logging`, since `warnings` can be told to raise."""
        if kind in self._warned:
            return
        self._warned.add(kind)
        try:
            logger.warning("%s", text)
        except Exception as error:  # a handler of the user's that raises: not because of us
            if comes_from_signal_handler(error.__traceback__):
                raise

    def switch_off(self, reason: str) -> None:
        if not self.off:
            self.off = reason
            self.warn_once("off", f"attnmon is off from now on; training goes on. {reason}")

    def failed(self, kind: str, text: str) -> None:
        """A capture came to nothing: warn once, and give up after three in a row."""
        self.failures_in_a_row += 1
        self.warn_once(kind, text)
        if self.failures_in_a_row >= FAILURES_BEFORE_OFF:
            self.switch_off(f"{self.failures_in_a_row} captures in a row failed, the last: {text}")

    def succeeded(self) -> None:
        self.failures_in_a_row = 0

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False] | bool:
        if not isinstance(error, Exception) or comes_from_signal_handler(traceback):
            return False
        self.failed(place_of(error), describe(error))
        let_go_of_frames(error)
        return True


def let_go_of_frames(error: BaseException) -> None:
    """Of an error that ends here: to have looked into its frames made a circle of them and it.

    What they hold, the ring for one, would wait for the garbage collection, which many switch off.
    """
    error.__traceback__ = None


def describe(error: BaseException) -> str:
    """An error in one line, with the place it was raised at."""
    place = place_of(error)
    return f"{type(error).__name__}: {error}" + (f" ({place})" if place else "")


def place_of(error: BaseException) -> str:
    """Where it was raised; errors of one place are of one kind."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    code = traceback.tb_frame.f_code
    return f"{code.co_filename}:{traceback.tb_lineno} in {code.co_name}"


def comes_from_signal_handler(traceback: TracebackType | None) -> bool:
    """Whether an error was raised by a signal handler that happened to run inside our code.

    torch's handler for a dead DataLoader worker raises wherever the main thread is. Swallowed
    here, training would wait for ever for a batch that never comes.
    """
    handlers = _handler_codes()
    interrupted: FrameType | None = None
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code in handlers or _was_told_of(interrupted, frame):
            return True
        interrupted, traceback = frame, traceback.tb_next
    return False


def _handler_codes() -> set[CodeType]:
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    codes = (getattr(handler, "__code__", None) for handler in handlers)
    return {code for code in codes if isinstance(code, CodeType)}


def _was_told_of(interrupted: FrameType | None, frame: FrameType) -> bool:
    """Whether this frame got (signal number, the frame before it) as its arguments.

    That is how Python calls a handler: also one that is a partial or an object, or that has put
    another in its place before it raised.
    """
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    given: list[object] = []
    for name in code.co_varnames[:count]:
        value = frame.f_locals.get(name)
        given += value if isinstance(value, tuple) else (value,)
    return any(
        isinstance(number, int) and interrupted is not None and there is interrupted
        for number, there in pairwise(given)
    )
