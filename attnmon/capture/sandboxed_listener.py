"""A listener whose own operators pass through a sandbox."""

from collections.abc import Iterator
from contextlib import contextmanager

from attnmon.capture.calls.attention_call import AttentionCall
from attnmon.capture.kernels.sdpa import SdpaCall
from attnmon.capture.model.inputs import GivenInputs, Inputs
from attnmon.capture.sandbox.sandbox import Sandbox
from attnmon.capture.tap_listener import TapListener


class SandboxedListener(TapListener):
    """Passes everything on, and lifts the sandbox while attnmon's own code runs (`timed`)."""

    def __init__(self, listener: TapListener, sandbox: Sandbox) -> None:
        self._listener = listener
        self._sandbox = sandbox

    @property
    def sample(self) -> int:
        return self._listener.sample

    def on_forward_start(self, inputs: Inputs, given: GivenInputs | None = None) -> None:
        self._listener.on_forward_start(inputs, given)

    def on_sdpa_call(self, call: SdpaCall) -> bool:
        return self._listener.on_sdpa_call(call)

    def on_call(self, call: AttentionCall) -> None:
        self._listener.on_call(call)

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        self._listener.on_unsupported(module, reason, call_index)

    def on_stale_layout(self) -> None:
        self._listener.on_stale_layout()

    def on_error(self, error: Exception) -> None:
        self._listener.on_error(error)

    def on_forward_end(self, completed: bool) -> None:
        self._listener.on_forward_end(completed)

    def on_forward_timed(self, seconds: float, *, watched: bool) -> None:
        self._listener.on_forward_timed(seconds, watched=watched)

    @contextmanager
    def timed(self) -> Iterator[None]:
        with self._sandbox.paused(), self._listener.timed():
            yield

    def add_time(self, seconds: float) -> None:
        self._listener.add_time(seconds)
