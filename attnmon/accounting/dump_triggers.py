"""Why steps that were kept are drawn: a loss that is no number, an error that ends it all."""

import math
import sys
import traceback


class LossWatch:
    """Tells the first loss that is NaN or infinite, and is silent until one is finite again."""

    def __init__(self) -> None:
        self._was_finite = True

    def trouble(self, step: int, loss: float | None) -> str:
        """What is wrong, if that is news; empty otherwise."""
        if loss is None:
            return ""
        news = self._was_finite and not math.isfinite(loss)
        self._was_finite = math.isfinite(loss)
        return f"the loss is {loss} at step {step}" if news else ""


def of_error(error: BaseException | None) -> str:
    """What went wrong; empty for an end that somebody wanted: Ctrl-C, `sys.exit`."""
    if not isinstance(error, Exception):
        return ""
    return traceback.format_exception_only(error)[0].strip()


def at_exit() -> str:
    """Whether an error that nobody caught is why the interpreter ends, and which.

    In an interactive session the last error may be of any command since, and ends nothing.
    """
    if hasattr(sys, "ps1"):
        return ""
    return of_error(getattr(sys, "last_exc", None) or getattr(sys, "last_value", None))
