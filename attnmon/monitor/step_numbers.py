"""Reads the step and the epoch that a script logs; a wrong one costs itself, and nothing else."""

import math
from collections.abc import Callable
from typing import Any

from attnmon.accounting.error_guard import ErrorGuard, comes_from_signal_handler, drop_frames
from attnmon.config.validation import whole_number

_LARGEST = (1 << 63) - 1
"""What a message can hold."""


class StepNumbers:
    """Turns what was logged into numbers, or warns once and returns None."""

    def __init__(self, guard: ErrorGuard) -> None:
        self._guard = guard

    def step(self, given: Any) -> int | None:
        """Return the number of a step."""
        return self._read("step", _whole, given, _CALL)

    def epoch(self, given: Any) -> int | None:
        """Return the number of an epoch; a fraction is part of the epoch that it is in."""
        return None if given is None else self._read("epoch", _begun, given, _RECORDED_AS_NULL)

    def _read(
        self, name: str, read: Callable[[Any], int], given: Any, consequence: str
    ) -> int | None:
        try:
            number = read(given)
            if abs(number) <= _LARGEST:
                return number
            words = "more than 64 bits"
        except Exception as error:
            if comes_from_signal_handler(error.__traceback__):
                raise
            drop_frames(error)
            words = "no whole number"
        text = f"{name}={shown(given)} is {words}{consequence}"
        self._guard.warn_once(f"{name} is no number", text)
        return None


def shown(given: Any) -> str:
    """Return the start of a value's `repr`; its type, where it has none."""
    try:
        return f"{given!r:.80}"
    except Exception:
        return f"({type(given).__name__})"


def _whole(given: Any) -> int:
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return whole_number("step", given)


def _begun(given: Any) -> int:
    return math.floor(float(given)) if not isinstance(given, int) else int(given)


_CALL = (
    ", so that this step is not captured, and counts as failed. The call is log_attention(model, "
    "enc, dec, step, loss); for a model of one input, log_attention(model, x, step=step, loss=loss)"
)
_RECORDED_AS_NULL = "; it is recorded as null"
