"""Copies from a CUDA device into the ring without waiting: side stream, pinned memory, event.

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
    """Copies that were started together, and the tensors they are written to.

    Their sources are not held: a sample is a view of its batch, whose memory would be kept from
    training until the next step. Instead, the allocator is told which stream still reads them.
    """

    events: list[Event] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    on_complete: list[Callable[[], object]] = field(default_factory=list)
    """What is left to do once the copies are complete."""

    def is_complete(self) -> bool:
        """Return whether all copies are complete; never waits."""
        return all(event.query() for event in self.events)

    def wait(self) -> None:
        """Wait until all copies are complete: for the end of training only."""
        for event in self.events:
            event.synchronize()

    def finish(self) -> None:
        """Do what is left to do. To be called once, when the copies are complete."""
        for callback in self.on_complete:
            callback()
        self.targets.clear()


class DeviceCopies:
    """Starts copies from CUDA devices into host memory, on a side stream of each device.

    The ring is pinned where the system allows it, so that copies run beside the computation. Where
    it does not, and in the part the ring has grown by since, copies go to a pinned buffer, and from
    there into the ring when they are complete.
    """

    def __init__(self, ring: Tensor, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda
        self._ring = ring
        self._streams: dict[torch.device, Any] = {}
        self._pinned: bool | None = None
        self._batch = CopyBatch()

    @property
    def has_copies(self) -> bool:
        """Whether copies were started since the last `end_batch`."""
        return bool(self._batch.targets)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start copying `source` into `target`, a part of the ring of the same shape."""
        if self._pinned is None:
            self._pinned = self._pin()
        is_direct = self._pinned and self._is_in_pinned_part(target)
        destination = target if is_direct else self._buffer(source)
        self._start(source, destination)
        if destination is not target:
            self._batch.on_complete.append(lambda: target.copy_(destination))

    def copy_scalar(self, source: Tensor) -> Tensor:
        """Start copying one number, and return the tensor on the host that will hold it."""
        target = self._buffer(source)
        self._start(source, target)
        return target

    def end_batch(self) -> CopyBatch:
        """Return the copies started so far; the next ones belong to another batch."""
        batch, self._batch = self._batch, CopyBatch()
        for stream in self._streams.values():
            event = self._cuda.Event()
            event.record(stream)
            batch.events.append(event)
        return batch

    def unpin(self) -> None:
        """Unpin the ring, once no copy into it is running."""
        if self._pinned:
            self._cuda.cudart().cudaHostUnregister(self._ring.data_ptr())
            self._pinned = None

    def _start(self, source: Tensor, target: Tensor) -> None:
        stream = self._stream_of(source.device)
        stream.wait_stream(self._cuda.current_stream(source.device))
        with self._cuda.stream(stream):
            target.copy_(source, non_blocking=True)
        if source.is_cuda:  # and not what the tests put in its place
            source.record_stream(stream)
        self._batch.targets.append(target)

    def _stream_of(self, device: torch.device) -> Any:
        if device not in self._streams:
            self._streams[device] = self._cuda.Stream(device)
        return self._streams[device]

    def _is_in_pinned_part(self, target: Tensor) -> bool:
        """Return whether `target` lies in what was pinned; the ring may have grown since."""
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
    """Return whether a CUDA graph is being captured, to which nothing may be added."""
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return in_use and torch.cuda.is_current_stream_capturing()
