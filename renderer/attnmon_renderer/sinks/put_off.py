"""Tells when something is to be written again that is not to be written too often."""

import time


class PutOff:
    """What is asked for again and again, and done at most once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = -seconds
        self._is_asked_for = False

    def ask(self) -> None:
        """Have it done, at once or as soon as the last time is long enough ago."""
        self._is_asked_for = True

    def begin(self) -> None:
        """Note that it is done now; if it fails, it is to be asked for again."""
        self._begun, self._is_asked_for = time.monotonic(), False

    @property
    def seconds_left(self) -> float | None:
        """Time until it is to be done; None if nobody has asked for it."""
        if not self._is_asked_for:
            return None
        return max(0.0, self._begun + self._seconds - time.monotonic())
