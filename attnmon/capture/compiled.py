"""Whether a forward runs through compiled code: the tap must then stay out of the real one.

Dynamo guards on the stack of torch-function modes. A compiled region called under the tap would be
compiled again, with the tap traced into it, or run eagerly for ever.
"""

import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

_WRAPPER = "_TorchDynamoContext.__call__."
"""Where torch/_dynamo/eval_frame.py defines what torch.compile returns. That of
torch.compiler.disable, as around activation checkpointing, is a DisableContext's."""


class CompiledRegions(TorchFunctionMode):
    """Notes whether any torch function is called from within a compiled function or module.

    To be pushed where compiled code runs eagerly (`torch.compiler.set_stance("force_eager")`), so
    that its calls are seen one by one. It walks the Python stack at every call: for discovery.
    """

    found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if not self.found:
            self.found = _within_compiled(sys._getframe(1))
        return func(*args, **(kwargs or {}))


def _within_compiled(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_qualname.startswith(_WRAPPER):
            return True
        frame = frame.f_back
    return False
