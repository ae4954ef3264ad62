"""Copies from a CUDA device into the ring without waiting: side stream, pinned memory, event.

Everything that touches CUDA is in this file, and gets it as the `cuda` it is given: the tests put a
device of their own in its place.

    training's stream   … forward ──┬── backward ── step ─────────── next step …
    side stream                     └─ copy ─ copy ─ event
    training's thread   captures               …asks at a later call: has the event fired? announces
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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

    The ring is pinned where the system allows it, so that copies run beside the computation; what
    it grows by is pinned when it is first copied to. Where pinning is refused, and across the
    border of two pinned parts, copies go to a pinned buffer, and from there into the ring when they
    are complete.
    """

    def __init__(self, memory: Tensor, reserved: Callable[[], int], cuda: Any = torch.cuda) -> None:
        """`memory`: the whole mapping of the ring; `reserved`: bytes of it that may be used now."""
        self._cuda = cuda
        self._memory = memory
        self._reserved = reserved
        self._streams: dict[torch.device, Any] = {}
        self._pinned: list[range] = []
        """Parts of the memory known to the device, as bytes from its start."""
        self._seen = 0
        """Bytes of the memory that were pinned, or were refused to be."""
        self._batch = CopyBatch()

    @property
    def has_copies(self) -> bool:
        """Whether copies were started since the last `end_batch`."""
        return bool(self._batch.targets)

    def copy(self, target: Tensor, source: Tensor) -> None:
        """Start copying `source` into `target`, a part of the ring of the same shape."""
        destination = target if self._is_pinned(target) else self._buffer(source)
        self._start(source, destination)
        if destination is not target:
            self._batch.on_complete.append(lambda: target.copy_(destination))

    @contextmanager
    def beside_training(self, device: torch.device, read: Iterable[Tensor]) -> Iterator[None]:
        """Have what is started in this block run on the side stream, after training so far.

        `read`: what is read there, of which the allocator is told. Raises RuntimeError, and nothing
        is started, while a CUDA graph is recorded: it would be started again at each replay.
        """
        if is_recording_a_graph():
            raise RuntimeError("attention cannot be copied while a CUDA graph is recorded")
        stream = self._stream_of(device)
        stream.wait_stream(self._cuda.current_stream(device))
        try:
            with self._cuda.stream(stream):
                yield
        finally:
            for tensor in read:
                if tensor.is_cuda:  # and not what the tests put in its place
                    tensor.record_stream(stream)

    def copy_to_host(self, source: Tensor) -> Tensor:
        """Start copying a small tensor, and return the one on the host that will hold it."""
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
        for part in self._pinned:
            self._cuda.cudart().cudaHostUnregister(self._memory.data_ptr() + part.start)
        self._pinned, self._seen = [], 0

    def _start(self, source: Tensor, target: Tensor) -> None:
        with self.beside_training(source.device, [source]):
            target.copy_(source, non_blocking=True)
        self._batch.targets.append(target)

    def _stream_of(self, device: torch.device) -> Any:
        if device not in self._streams:
            self._streams[device] = self._cuda.Stream(device)
        return self._streams[device]

    def _is_pinned(self, target: Tensor) -> bool:
        """Return whether `target` lies in one pinned part, after pinning what is new."""
        start = target.data_ptr() - self._memory.data_ptr()
        end = start + target.nbytes
        if end > self._seen:
            self._pin(self._seen, max(self._reserved(), end))
        return any(part.start <= start and end <= part.stop for part in self._pinned)

    def _buffer(self, source: Tensor) -> Tensor:
        return torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda)

    def _pin(self, start: int, end: int) -> None:
        self._seen = end
        refusal = int(
            self._cuda.cudart().cudaHostRegister(
                self._memory.data_ptr() + start, end - start, _PORTABLE
            )
        )
        if refusal:
            logger.info(
                "attnmon: pinning the ring was refused (%d); copies go by a buffer", refusal
            )
        else:
            self._pinned.append(range(start, end))


def is_recording_a_graph() -> bool:
    """Return whether a CUDA graph is being captured, to which nothing may be added."""
    in_use: bool = torch.cuda.is_initialized()
    return in_use and torch.cuda.is_current_stream_capturing()
