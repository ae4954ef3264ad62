"""Notices that more than one model is logged with a monitor, whose files and curves would mix."""

import weakref
from collections.abc import Callable

from torch import nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import unwrap


class LoggedModels:
    """Remembers the latest models that were logged, by weak references."""

    def __init__(self, guard: ErrorGuard) -> None:
        self._guard = guard
        self._step: int | None = None
        self._latest: Callable[[], nn.Module | None] = _no_model
        self._before: Callable[[], nn.Module | None] = _no_model
        self._given: Callable[[], nn.Module | None] = _no_model
        """The latest model as it was given, perhaps inside a wrapper."""

    def refuse(self, model: nn.Module | None, step: int) -> str:
        """Return why this model is not captured at this step; empty if it is.

        What is captured of a second model at a step would replace what there is of the first.
        """
        if not isinstance(model, nn.Module):
            return ""
        if model is self._given():
            self._step = step
            return ""
        inner, latest, is_same_step = unwrap(model), self._latest(), step == self._step
        self._step = step
        if latest is None or latest is inner:
            self._latest, self._given = weakref.ref(inner), weakref.ref(model)
            return ""
        names = f"{type(latest).__name__} and {type(inner).__name__}"
        if is_same_step:
            self._guard.warn_once("two models", f"two models, {names}, {_SAME_STEP}")
            return _REFUSED
        if inner is self._before():
            self._guard.warn_once("two models", f"two models, {names}, {_IN_TURN}")
        self._before = self._latest
        self._latest, self._given = weakref.ref(inner), weakref.ref(model)
        return ""

    def tell_replaced(self, before: nn.Module | None, model: nn.Module) -> None:
        """Warn if another model was attached already, which this one takes the place of."""
        if before is not None and unwrap(before) is not unwrap(model):
            names = f"{type(unwrap(before)).__name__} and {type(unwrap(model)).__name__}"
            self._guard.warn_once("two attached", f"two models, {names}, {_ATTACHED}")


def _no_model() -> None:
    return None


_REFUSED = "another model is logged for the same steps: give this one a monitor of its own"
_SAME_STEP = (
    "are logged with one monitor under the same step. Only the first is captured, or the files of "
    "one would replace those of the other: use a monitor with a save_dir of its own for each model."
)
_IN_TURN = (
    "are logged with one monitor in turn, so that their layers and curves are mixed from step to "
    "step: use a monitor with a save_dir of its own for each model."
)
_ATTACHED = (
    "are attached to one monitor: the second takes the place of the first. Use a monitor with a "
    "save_dir of its own for each model, or detach the first."
)
