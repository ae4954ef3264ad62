"""The signals that end a standalone renderer, as something to wait for beside its sockets."""

import os
import signal
from collections.abc import Callable

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Signals that say stop, as bytes to read. One that is ignored already stays so (nohup)."""

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
        return sum(number in STOPPING for number in os.read(self._out, 64))
