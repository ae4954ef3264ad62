"""Reasons to draw the retained steps: a loss that is no number, an error that ends the training."""

import math
import sys
import traceback


class LossWatch:
    """Reports the first loss that is NaN or infinite, and the next one after a finite loss."""

    def __init__(self) -> None:
        self._was_finite = True

    def check(self, step: int, loss: float | None) -> str:
        """Return what is wrong with this step's loss; empty if nothing is, or still is."""
        if loss is None:
            return ""
        news = self._was_finite and not math.isfinite(loss)
        self._was_finite = math.isfinite(loss)
        return f"the loss is {loss} at step {step}" if news else ""


def error_reason(error: BaseException | None) -> str:
    """Return what went wrong; empty for an end that was wanted, such as Ctrl-C or `sys.exit`."""
    if not isinstance(error, Exception):
        return ""
    return traceback.format_exception_only(error)[0].strip()


def exit_reason() -> str:
    """Return the uncaught error that ends the interpreter; empty if none does.

    Always empty in an interactive session, where the last error may be of any command before.
    """
    if hasattr(sys, "ps1"):
        return ""
    return error_reason(getattr(sys, "last_exc", None) or getattr(sys, "last_value", None))
