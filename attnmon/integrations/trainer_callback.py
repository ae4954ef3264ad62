"""The part that all callbacks share: a monitor that lives as long as one training.

Depends on no framework. A callback is constructed before its trainer has a model, a directory or a
rank. So options are checked at construction, and the monitor is made when training starts.
"""

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from attnmon.accounting.error_guard import logger
from attnmon.capture import is_uncompiled, modules_in
from attnmon.collector.probe.probe_batch import ProbeBatch
from attnmon.config.run_config import config_json
from attnmon.config.settings import checked_settings
from attnmon.config.validation import choice, tokenizer_in
from attnmon.link.records.alert import SEVERITIES, Severity
from attnmon.monitor import AttentionMonitor, TrainingAttentionMonitor
from attnmon.options import CallbackSettings, CaptureMode

DEFAULT_FOLDER = "attention_logs"
"""Name of the directory that is written to, if the user gives none."""


class MonitoredTraining:
    """A monitor that is made when a training starts, and closed when it ends.

    Construction raises what `TrainingAttentionMonitor` raises for options that are not allowed.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] | None,
        options: CallbackSettings,
        stop_on: Severity | None = None,
    ) -> None:
        if stop_on is not None:
            choice("stop_on", stop_on, SEVERITIES)
        given = inspect.signature(TrainingAttentionMonitor).bind(save_dir or "", **options)
        given.apply_defaults()
        ProbeBatch.of(checked_settings(**given.arguments).probe)
        self.save_dir = save_dir
        self.options = options
        self.stop_on: Severity | None = stop_on
        """The least serious alert that ends the training; None for none."""
        self.monitor: AttentionMonitor | None = None
        """The monitor of the current training, or of the last one. None before the first, and
        where no attention can be captured."""
        self._has_told_stop = False
        self.uses_model_forward = False
        """Whether attention is captured in the model's own forward, not in an extra one."""

    def start(
        self,
        model: nn.Module,
        folder: Path,
        rank: int,
        *,
        compiled: bool,
        has_batch: bool,
        config: Any,
        tokenizer: Any = None,
    ) -> None:
        """Make the monitor and attach it to the model.

        Args:
            model: The model that is trained.
            folder: Directory that gets `attention_logs`, if the user named no directory.
            rank: Rank of this process.
            compiled: Whether the trainer compiles the model.
            has_batch: Whether the callback is given the inputs that an extra forward needs.
            config: The trainer's configuration, for `run.json`, if the user gave none.
            tokenizer: What the trainer prepares inputs with, if the user gave no tokenizer.
        """
        self.finish()
        compiled = compiled or not is_uncompiled(modules_in(model))
        self.uses_model_forward = self._may_use_model_forward(compiled)
        asked = self.options.get("capture", "auto")
        has_probe = self.options.get("probe") is not None
        has_batch = has_batch or has_probe or "forward_fn" in self.options
        if not (self.uses_model_forward or has_batch):
            if rank == 0:
                logger.warning("%s", _CANNOT_CAPTURE)
            return
        found: CallbackSettings = {
            "rank": rank,
            "config": _usable(config),
            "tokenizer": tokenizer_in(tokenizer),
        }
        options: CallbackSettings = {**found, **self.options}
        own: CaptureMode = "forward" if self.uses_model_forward else "probe"
        options["capture"] = asked if has_probe else own
        self.monitor = TrainingAttentionMonitor(self.save_dir or folder / DEFAULT_FOLDER, **options)
        self.monitor.attach(model)

    def is_to_stop(self, processes: int) -> bool:
        """Return whether an alert is open that ends the training; of one process only.

        One of several that stopped by itself would leave the others waiting.
        """
        if self.stop_on is None or self.monitor is None:
            return False
        level = self.stop_on
        found = [a for a in self.monitor.alerts if a.is_open and a.is_at_least(level)]
        if found and not self._has_told_stop:
            self._has_told_stop = True
            what = f"alert {found[0].rule} at step {found[0].step}"
            logger.warning("%s", f"attnmon: {what}: {_STOPS if processes == 1 else _GOES_ON}")
        return bool(found) and processes == 1

    def finish(self, error: BaseException | None = None) -> None:
        """Close the monitor; after an error, have the retained steps drawn first.

        The attribute `monitor` stays, so that its accounts can be read.
        """
        if self.monitor is not None:
            self.monitor.__exit__(None if error is None else type(error), error, None)

    def _may_use_model_forward(self, compiled: bool) -> bool:
        asked = self.options.get("capture", "auto")
        if asked == "auto":
            return not compiled and "forward_fn" not in self.options
        return asked == "forward"


def _usable(config: Any) -> Any:
    """Return a trainer's configuration; None for one that cannot be shown."""
    try:
        config_json("config", config)
    except Exception:
        return None
    return config


def learning_rate(optimizer: Any) -> float | None:
    """Return the learning rate of the first parameter group.

    None if there is none, or if it is on a device, since reading it would wait for that.
    """
    groups = getattr(optimizer, "param_groups", None)
    rate = groups[0].get("lr") if groups else None
    on_device = isinstance(rate, Tensor) and rate.device.type != "cpu"
    return None if rate is None or on_device else float(rate)


_STOPS = "stop_on ends the training after this step"
_GOES_ON = "stop_on is for trainings of one process; this one goes on"
_CANNOT_CAPTURE = (
    "attnmon is off: the model's own forward cannot be looked at, since it is compiled or since "
    "you asked for a probe, and the trainer gives its callbacks no batch for that. Say what to "
    "look at: AttentionCallback(forward_fn=lambda model, enc, dec: model(**batch)). Training goes "
    "on."
)
