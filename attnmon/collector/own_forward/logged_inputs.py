"""Tells whether the tensors that are logged are those that the model was called with."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import Inputs
from attnmon.collector.own_forward.held_forward import HeldForward

MISSES_BEFORE_WARNING = 2
"""One may be missed for a reason of that step alone, such as a validation with gradients."""


class LoggedInputs:
    """Compares them by identity and memory; by value only until it is known how they differ."""

    def __init__(self, guard: ErrorGuard) -> None:
        self._guard = guard
        self._misses = 0
        self._latest: Callable[[], Any] = lambda: None
        self._are_copies = False
        """Whether what is logged was once a copy of what the model was called with."""

    def were_of_the_forward(self) -> None:
        """Note that the latest forward was one of what was logged."""
        self._misses = 0

    def are_copies(self, held: HeldForward, logged: Inputs) -> bool:
        """Return whether it was the forward of copies of these; warn if it repeatedly was not.

        To compare by value waits for a device: at most twice in a run.
        """
        if self._is_a_fixed_batch(logged):
            return False
        self._misses += 1
        if self._misses <= MISSES_BEFORE_WARNING and not self._are_copies:
            self._are_copies = _is_copy_of_one(logged[0], held.inputs)
        if self._are_copies:
            return any(logged[0].shape == other.shape for other in held.inputs)
        if self._misses == MISSES_BEFORE_WARNING:
            self._guard.warn_once("logged", _OTHERS)
        return False

    def _is_a_fixed_batch(self, logged: Inputs) -> bool:
        """Return whether the same tensor was logged before: then it is meant to be another one."""
        before, self._latest = self._latest(), weakref.ref(logged[0])
        return before is logged[0]


def _is_copy_of_one(logged: Any, inputs: Inputs) -> bool:
    """Return whether it has the values of one of these, on whatever device and in what type."""
    try:
        alike = [_as_tensor(other) for other in inputs if logged.shape == other.shape]
        return any(torch.equal(_as_tensor(logged).to(other), other) for other in alike)
    except (RuntimeError, NotImplementedError, TypeError):  # sparse, ragged, of a class of its own
        return False


def _as_tensor(given: Any) -> Tensor:
    """Return a tensor, or a NumPy array's copy as one. Raises TypeError for an array of objects."""
    return given.detach() if isinstance(given, Tensor) else torch.from_numpy(given.copy())


_OTHERS = (
    "the tensors given to log_attention are not those of the model's latest forward: the next "
    "batch, perhaps, or another part of the batch. So each capture costs an extra forward, and "
    "shows what was logged, not what the step was trained on. Log the tensors that the model was "
    "called with, before the next batch is fetched; or none: monitor.attach(model) once, and "
    "log_attention(step=step, loss=loss)."
)
