"""Taps the model's own forward, so that nothing is computed twice.

The model is watched only while its next forward is wanted (`watched_calls`).
"""

import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from attnmon.capture.layouts import Layouts
from attnmon.capture.model.inputs import GivenInputs, Inputs, inputs_in
from attnmon.capture.model.module_names import unwrap
from attnmon.capture.model.watched_calls import unwatch_calls, watch_calls
from attnmon.capture.module_tap import CallsByName, TappedModules
from attnmon.capture.tap import Tap
from attnmon.capture.tap_listener import TapListener


class TapScope(NamedTuple):
    """What of one forward is tapped, and what is known of it."""

    names: Mapping[int, str]
    """Modules' names by id (`module_names`)."""
    modules: Sequence[nn.Module]
    """The modules to tap; if none, the whole forward."""
    layouts: Layouts
    """Where each layer's tensors hold samples and heads."""
    calls_by_name: CallsByName | None = None
    """What is known of how the modules make their calls; None where they are to be followed."""


_Tapping = tuple[Tap, AbstractContextManager[object]]
"""The tap of a forward, and the context in which it sees what it is to see."""


class ForwardTap:
    """Taps each forward of a model that is made with gradients or checkpointed, until `remove`.

    scope_of: asked at each forward, of the module and its inputs, what to tap.

    Of forwards at the same time on several threads, as DataParallel makes them, the first is
    tapped: torch-function modes belong to their thread.
    """

    def __init__(
        self,
        model: nn.Module,
        listener: TapListener,
        scope_of: Callable[[nn.Module, Inputs], TapScope],
        handwritten: bool = True,
    ) -> None:
        root = unwrap(model)
        self._root = weakref.ref(root)
        self._listener = listener
        self._scope_of = scope_of
        self._handwritten = handwritten
        self.calls: Counter[bool] = Counter()
        """The model's calls, by whether they were to be trained; whoever reads it clears it."""
        self.only_times = False
        """Whether forwards are timed and not tapped."""
        self._running = Lock()
        """Held by the forward that is tapped: neither a nested nor a parallel one is."""
        watch_calls(root, self._forward)

    def remove(self) -> None:
        """Taps no forward from here on."""
        root = self._root()
        if root is not None:
            unwatch_calls(root, self._forward)

    @contextmanager
    def _forward(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Iterator[None]:
        started = time.perf_counter()
        if torch._C._current_graph_task_id() != -1:  # in backward: checkpointing computes it again
            yield
            return
        # Without gradients it is a validation between two steps.
        is_training = torch.is_grad_enabled() or (module.training and _is_checkpointed())
        self.calls[is_training] += 1
        if not is_training or not self._running.acquire(blocking=False):
            yield
            return
        tapping: list[_Tapping] = []  # one at most; an interrupt leaves it here
        completed, is_tapped = False, not self.only_times
        try:
            if is_tapped:
                self._begin(module, args, kwargs, tapping)
            yield
            completed = True
        finally:
            try:
                for tap, tapped in tapping:
                    self._end(tap, tapped, completed)
                if completed:
                    self._tell_time(time.perf_counter() - started, watched=is_tapped)
            finally:  # also where a signal handler has raised
                self._running.release()

    def _begin(
        self, module: nn.Module, args: Any, kwargs: dict[str, Any], tapping: list[_Tapping]
    ) -> None:
        try:
            with self._listener.timed():
                tensors = inputs_in((args, kwargs))
                given = GivenInputs.of_call(module, args, kwargs)
                self._listener.on_forward_start(tensors, given)
                scope = self._scope_of(module, tensors)
                tap = Tap(scope.names, self._listener, self._handwritten, scope.layouts)
                modules = scope.modules
                tapped = TappedModules(tap, modules, scope.calls_by_name) if modules else tap
                tapped.__enter__()
                tapping.append((tap, tapped))
        except Exception as error:
            self._listener.on_error(error)

    def _end(self, tap: Tap, tapped: AbstractContextManager[object], completed: bool) -> None:
        try:
            with self._listener.timed():
                tapped.__exit__(None, None, None)
                tap.finish()
                self._listener.on_forward_end(completed)
        except Exception as error:
            self._listener.on_error(error)

    def _tell_time(self, seconds: float, *, watched: bool) -> None:
        try:
            self._listener.on_forward_timed(seconds, watched=watched)
        except Exception as error:
            self._listener.on_error(error)


def _is_checkpointed() -> bool:
    """Returns whether this is called by reentrant checkpointing, torch's or one made like it.

    That runs the forward without gradients, and once more during backward.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_qualname != "CheckpointFunction.forward":
        frame = frame.f_back
    return frame is not None
