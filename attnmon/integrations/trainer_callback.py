"""What the callbacks share: a monitor for as long as a trainer's training lasts.

Knows no framework. A callback is made before its trainer has a model, a directory or a rank, so
the settings are checked when it is made, and the monitor is made when the training begins.
"""

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attnmon.accounting.error_guard import logger
from attnmon.capture import modules_in, run_as_written
from attnmon.config.settings import checked_settings
from attnmon.monitor import AttentionMonitor, TrainingAttentionMonitor
from attnmon.options import CallbackSettings

FOLDER = "attention_logs"


class WatchedTraining:
    """Makes the monitor when a training begins, and closes it when it ends.

    Raises at once what `TrainingAttentionMonitor` raises for settings that cannot be.
    """

    def __init__(self, save_dir: str | PathLike[str] | None, chosen: CallbackSettings) -> None:
        given = inspect.signature(TrainingAttentionMonitor).bind(save_dir or "", **chosen)
        given.apply_defaults()
        checked_settings(**given.arguments)
        self.save_dir = save_dir
        self.chosen = chosen
        self.monitor: AttentionMonitor | None = None
        """None before a training has begun, or where nothing of it can be seen."""
        self.looks_on = False
        """Whether attention is seen in the model's own forward, not in an extra one."""

    def begin(
        self, model: nn.Module, folder: Path, rank: int, *, compiled: bool, has_batch: bool
    ) -> None:
        """The first step is due, whatever its number, so that one sees at once that it works.

        folder: where `attention_logs` is put if the user named no directory. has_batch: whether
        the callback is given the inputs that an extra forward needs.
        """
        self.end()
        self.looks_on = self._may_look_on(compiled or not run_as_written(modules_in(model)))
        if not (self.looks_on or has_batch or "forward_fn" in self.chosen):
            if rank == 0:
                logger.warning("%s", _NOTHING_TO_SEE)
            return
        options: CallbackSettings = {"rank": rank, **self.chosen}
        options["capture"] = "forward" if self.looks_on else "probe"
        self.monitor = TrainingAttentionMonitor(self.save_dir or folder / FOLDER, **options)
        self.monitor.attach(model)
        self.monitor.capture_next()

    def end(self, error: BaseException | None = None) -> None:
        """Draw what is left, and what was kept if it ends by an error; the monitor stays there."""
        if self.monitor is not None:
            self.monitor.__exit__(None if error is None else type(error), error, None)

    def _may_look_on(self, compiled: bool) -> bool:
        asked = self.chosen.get("capture", "auto")
        if asked == "auto":
            return not compiled and "forward_fn" not in self.chosen
        return asked == "forward"


def learning_rate(optimizer: Any) -> float | None:
    """That of the first group of parameters; None where reading it would wait for a device."""
    groups = getattr(optimizer, "param_groups", None)
    rate = groups[0].get("lr") if groups else None
    on_device = isinstance(rate, Tensor) and rate.device.type != "cpu"
    return None if rate is None or on_device else float(rate)


_NOTHING_TO_SEE = (
    "attnmon is off: the model's own forward cannot be looked at, since it is compiled or since "
    "you asked for a probe, and the trainer gives its callbacks no batch for that. Say what to "
    "look at: AttentionCallback(forward_fn=lambda model, enc, dec: model(**batch)). Training goes "
    "on."
)
