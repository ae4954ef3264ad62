"""The interface to which a tap reports what it sees."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.kernels.sdpa import SdpaCall
from attnmon.capture.model.inputs import GivenInputs, Inputs


class TapListener(Protocol):
    """Receives what a tap sees, on the thread of the forward, from inside the call itself.

    The methods about calls run without gradients, and none of them runs under the tap. An
    exception in any of them goes to `on_error`; one in `on_error` reaches the model's forward.
    """

    @property
    def sample(self) -> int:
        """Index in the batch of the sample that is looked at, where there are as many."""
        return 0

    def on_forward_start(self, inputs: Inputs, given: GivenInputs | None = None) -> None:
        """Called by a `ForwardTap` when a forward of the model starts.

        inputs: the tensors in what it was given; given: all of that, where it is known.
        """

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        """Handles a call from its arguments alone; False asks for `on_call` with the same call."""

    def on_call(self, call: AttentionCall) -> None:
        """Handles one attention call, whose tensors are the model's own: copy what is kept."""

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        """Called for attention that was seen in this module but cannot be captured.

        call_index: number of the module's attention calls before it; None if it is of no single
        call.
        """

    def on_stale_layout(self) -> None:
        """Called for a call that does not fit its known layout: it is not reported."""

    def on_error(self, error: Exception) -> None:
        """Called for an exception of attnmon's own. The model's exceptions propagate."""

    def on_forward_end(self, completed: bool) -> None:
        """Called by a `ForwardTap` when a forward ends; `completed` is False if it raised."""

    def on_forward_timed(self, seconds: float, *, watched: bool) -> None:
        """Called by a `ForwardTap` with what a forward took that completed."""

    def timed(self) -> AbstractContextManager[None]:
        """Returns a context that measures the time taken from the model's own computation."""

    def add_time(self, seconds: float) -> None:
        """Adds time that was taken from it, outside such a context."""


class CallListener(TapListener):
    """Passes each call to one function, keeps the first error, and ignores everything else."""

    def __init__(self, receive: Callable[[AttentionCall], None]) -> None:
        self._receive = receive
        self._error: Exception | None = None
        self.is_stale = False
        """Whether a call did not fit its known layout."""

    def on_forward_start(self, inputs: Inputs, given: GivenInputs | None = None) -> None:
        pass

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        return False

    def on_call(self, call: AttentionCall) -> None:
        self._receive(call)

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        pass

    def on_stale_layout(self) -> None:
        self.is_stale = True

    def on_error(self, error: Exception) -> None:
        self._error = self._error or error

    def on_forward_end(self, completed: bool) -> None:
        pass

    def on_forward_timed(self, seconds: float, *, watched: bool) -> None:
        pass

    def timed(self) -> AbstractContextManager[None]:
        return nullcontext()

    def add_time(self, seconds: float) -> None:
        pass

    def raise_error(self) -> None:
        """Raises the first error that was reported, if there was one."""
        if self._error is not None:
            raise self._error
