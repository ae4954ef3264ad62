"""From a CUDA device into the ring, without waiting: side stream, pinned memory, event.

Everything that touches CUDA is in this file, and gets it as the `cuda` it is given: the tests put a
device of their own in its place.

    training's stream   … forward ──┬── backward ── step ─────────── next step …
    side stream                     └─ copy ─ copy ─ event
    training's thread   captures               …asks at a later call: has the event fired? announces
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

logger = logging.getLogger("attnmon")

_PORTABLE = 1  # cudaHostRegisterPortable: for every device of this process


class Event(Protocol):
    def query(self) -> bool: ...
    def synchronize(self) -> None: ...


@dataclass(eq=False)
class CopyBatch:
    """Copies on their way, and what they go to.

    Their sources are not held: a sample is a view of its batch, whose memory would be kept from
    training until the next step. The allocator is told instead who still reads them.
    """

    events: list[Event] = field(default_factory=list)
    landings: list[Tensor] = field(default_factory=list)
    afterwards: list[Callable[[], object]] = field(default_factory=list)
    """What is left to do once they have landed."""

    def landed(self) -> bool:
        """Whether all are there; never waits."""
        return all(event.query() for event in self.events)

    def wait(self) -> None:
        """For the end of training, when nobody minds."""
        for event in self.events:
            event.synchronize()

    def finish(self) -> None:
        """To be called once, after they have landed."""
        for step in self.afterwards:
            step()
        self.landings.clear()


class DeviceCopies:
    """Starts copies from CUDA devices into host memory, on a side stream each.

    The ring is pinned where the system allows, so that copies run beside the computation. Where it
    does not, and in what it has grown by since, they go by way of a pinned buffer and are moved
    into the ring when they have landed.
    """

    def __init__(self, ring: Tensor, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda
        self._ring = ring
        self._streams: dict[torch.device, Any] = {}
        self._pinned: bool | None = None
        self._flight = CopyBatch()

    @property
    def busy(self) -> bool:
        """Whether copies were started since the last `depart`."""
        return bool(self._flight.landings)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start copying `source` into `target`, a part of the ring of the same shape."""
        if self._pinned is None:
            self._pinned = self._pin()
        landing = target if self._pinned and self._holds(target) else self._buffer(source)
        self._start(source, landing)
        if landing is not target:
            self._flight.afterwards.append(lambda: target.copy_(landing))

    def scalar(self, source: Tensor) -> Tensor:
        """Where the one number in `source` will be found on the host, once it has landed."""
        landing = self._buffer(source)
        self._start(source, landing)
        return landing

    def depart(self) -> CopyBatch:
        """The copies started so far; the next ones belong to another flight."""
        flight, self._flight = self._flight, CopyBatch()
        for stream in self._streams.values():
            event = self._cuda.Event()
            event.record(stream)
            flight.events.append(event)
        return flight

    def release(self) -> None:
        """Unpin the ring, once nothing is on its way."""
        if self._pinned:
            self._cuda.cudart().cudaHostUnregister(self._ring.data_ptr())
            self._pinned = None

    def _start(self, source: Tensor, landing: Tensor) -> None:
        stream = self._stream_of(source.device)
        stream.wait_stream(self._cuda.current_stream(source.device))
        with self._cuda.stream(stream):
            landing.copy_(source, non_blocking=True)
        if source.is_cuda:  # and not what the tests put in its place
            source.record_stream(stream)
        self._flight.landings.append(landing)

    def _stream_of(self, device: torch.device) -> Any:
        if device not in self._streams:
            self._streams[device] = self._cuda.Stream(device)
        return self._streams[device]

    def _holds(self, target: Tensor) -> bool:
        """Whether it lies in the part that is pinned; a ring may have grown since."""
        end = self._ring.data_ptr() + self._ring.nbytes
        return target.data_ptr() + target.nbytes <= end

    def _buffer(self, source: Tensor) -> Tensor:
        return torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda)

    def _pin(self) -> bool:
        runtime = self._cuda.cudart()
        refusal = int(runtime.cudaHostRegister(self._ring.data_ptr(), self._ring.nbytes, _PORTABLE))
        if refusal:
            logger.info(
                "attnmon: pinning the ring was refused (%d); copies go by a buffer", refusal
            )
        return not refusal


def is_recording_a_graph() -> bool:
    """Whether a CUDA graph is being captured: nothing may be added to it."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return in_use and torch.cuda.is_current_stream_capturing()
