"""Whether an extra forward of a model may be made, and why not."""

from typing import Any

from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torch.utils.weak import WeakIdKeyDictionary

from attnmon.capture import ReachingThread, Tap, is_sharded, unwrap
from attnmon.config.distributed import find_process_rank
from attnmon.config.settings import Settings


class ProbePermission:
    """Forbids the extra forward by the settings, of sharded models, and of those it has stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopped: Any = WeakIdKeyDictionary()

    def refusal(self, model: nn.Module) -> str:
        """Return why an extra forward may not be made; empty if it may."""
        inner = unwrap(model)
        if self._settings.capture == "forward":
            return "no extra forward may be made (capture='forward'): use capture='auto'"
        if is_sharded(inner):  # to gather them, all processes would have to make it together
            return "its parameters are sharded, so that no extra forward may be made either"
        reason, thread = self._stopped.get(inner, ("", None))
        if reason and (thread is None or thread.runs):
            return f"its extra forward {reason}"
        if self._settings.capture != "probe" and (mode := _mode_of_the_users()):
            return f"{mode} is on, which would see an extra forward: use capture='probe' if it may"
        if self._settings.capture != "probe" and self._is_one_of_several_processes():
            return (
                "one of several processes makes no extra forward by itself: use capture='probe' "
                "if this model's forward waits for no other process"
            )
        return ""

    def forbid(self, model: nn.Module, reason: str, thread: ReachingThread | None = None) -> None:
        """Forbid it for this model for good, or while a thread runs because of which it may not be.

        `reason`: what its extra forward has done.
        """
        self._stopped[unwrap(model)] = (reason, thread)

    def _is_one_of_several_processes(self) -> bool:
        """Return whether there are others, which a forward may wait for; they may come late."""
        return max(self._settings.world_size, find_process_rank().world_size) > 1


def _mode_of_the_users() -> str:
    """Return the kind of a mode that sees or changes what is computed; empty if none is on."""
    modes = [*_get_current_function_mode_stack(), *_get_current_dispatch_mode_stack()]
    theirs = [mode for mode in modes if not isinstance(mode, (DeviceContext, Tap))]
    return type(theirs[-1]).__name__ if theirs else ""
