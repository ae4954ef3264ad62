"""Sees what of a tensor's memory is handed out to code that no operator shows."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from attnmon.capture.sandbox.own_memory import OwnMemory

_HANDS_OUT_MEMORY = frozenset(
    {
        Tensor.numpy,
        Tensor.__array__,
        Tensor.__dlpack__,
        Tensor.data_ptr,
        Tensor.storage,
        Tensor.untyped_storage,
        Tensor._typed_storage,
    }
)
"""Functions after which anybody may write: NumPy, a kernel of Triton's, a C extension."""


class RawAccess(TorchFunctionMode):
    """Keeps a copy of memory that is handed out, to be put back if it is written to."""

    def __init__(
        self, own: OwnMemory, keep: Callable[[Tensor], bool], stop: Callable[..., None]
    ) -> None:
        """keep: copies a tensor's memory, or returns False. stop: as in `OperatorGuard`."""
        super().__init__()
        self.paused = False
        """Whether attnmon's own code runs, which writes to nothing."""
        self._own = own
        self._keep = keep
        self._stop = stop

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in _HANDS_OUT_MEMORY and not self.paused:
            tensor: Tensor = args[0]
            if not (self._own.has(tensor) or self._keep(tensor)):
                self._stop("would have handed out the memory of", tensor)
        return func(*args, **(kwargs or {}))
