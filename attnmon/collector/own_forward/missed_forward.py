"""Notices that the forward that was watched for never came, and says why."""

from typing import Any

from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from attnmon.accounting.error_guard import ErrorGuard, inform
from attnmon.capture import ForwardTap, compilations

MISSES_BEFORE_WARNING = 2
"""One may be missed for a reason of that step alone, such as a batch that was left out."""


class MissedForward:
    """Counts the due steps in a row at which the watched model was not called."""

    def __init__(self, guard: ErrorGuard, capture: str) -> None:
        """`capture`: the user's option of this name."""
        self._guard = guard
        self._capture = capture
        self._misses: Any = WeakIdKeyDictionary()
        self._has_told = False

    def review(self, tap: ForwardTap, model: nn.Module) -> str:
        """Return why the model's forward since the last step was not seen; empty if it was."""
        if tap.calls[True]:
            if self._misses:
                self._misses.pop(model, None)
            return ""
        self._misses[model] = self._misses.get(model, 0) + 1
        cause = _WITHOUT if tap.calls[False] else _NEVER
        if compilations():
            cause += _COMPILED
        return f"the forward of {type(model).__name__} was not seen: {cause}"

    def is_repeated(self, model: nn.Module) -> bool:
        """Return whether so many were missed in a row that it is the way of this script."""
        return bool(self._misses.get(model, 0) >= MISSES_BEFORE_WARNING)

    def tell_what_it_costs(self, why: str, model: nn.Module) -> None:
        """Tell once, where it is the way of this script, that extra forwards take their place."""
        if self.is_repeated(model) and not self._has_told:
            self._has_told = True
            inform(f"attnmon: {why} {_REPLACED} {_REMEDY}.")

    def warn(self, why: str) -> None:
        """Warn once that nothing is captured, and say what would help."""
        remedy = ", or use capture='auto'" if self._capture == "forward" else ""
        self._guard.warn_once("missed", f"{why} Nothing is captured. {_REMEDY}{remedy}.")


_NEVER = (
    "the model was not called as model(...) since the step before. model.forward(...), another "
    "method (encode, generate, training_step …) and the call of a part of it are no call of it."
)
_WITHOUT = "since the step before it was called without gradients only."
_COMPILED = " Nor is a call that compiled code makes (torch.compile)."
_REPLACED = "So each capture costs an extra forward, of the model as it is after the step."
_REMEDY = (
    "Call the model itself, log the module that you call, or put the forward into `with "
    "monitor.capture(step):`"
)
