"""The signals that end a standalone renderer, as a descriptor for its selector."""

import os
import signal
from collections.abc import Callable

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """A context in which stop signals arrive as bytes of a pipe.

    A signal that is ignored already, as by nohup, stays ignored.
    """

    def __enter__(self) -> "StopSignals":
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self._wakeup_before = signal.set_wakeup_fd(self._in, warn_on_full_buffer=False)
        self._before: dict[signal.Signals, Callable[..., object] | int | None] = {}
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._in)
        os.close(self._out)

    def fileno(self) -> int:
        return self._out

    def count(self) -> int:
        """Return how many stop signals have arrived since the last call."""
        return sum(number in STOPPING for number in os.read(self._out, 64))
