"""The callback for the Trainer of Lightning, from `lightning.pytorch` or from `pytorch_lightning`.

trainer = Trainer(callbacks=[AttentionCallback()])
"""

import importlib
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any, Self, Unpack

from torch import Tensor

from attnmon.integrations.trainer_callback import MonitoredTraining, learning_rate
from attnmon.link.records.alert import Severity
from attnmon.monitor import AttentionMonitor
from attnmon.options import CallbackSettings

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
"""Lightning under its two names. A Trainer of one refuses a Callback of the other."""


class LightningAttentionCallback:
    """Callback that monitors the attention of the module that a Trainer trains.

    Attention is captured in the module's own training step. The monitor is made when training
    begins and closed when it ends. Steps are numbered as in the Trainer's log, by
    `trainer.global_step` when the step begins, from 0; epochs by `trainer.current_epoch`. The loss
    is what the training step returned. With `stop_on="error"` (or "warn") an alert that is as
    serious ends a training of a single process, after the step at which it is heard of.

    An instance is a Callback of each package, `lightning.pytorch` or `pytorch_lightning`, that is
    imported when it is made.

    Args:
        save_dir (str | PathLike[str] | None): Directory that everything is written to; `None` is
            `attention_logs` below the directory of the first logger. Default: None.
        **settings: The other options that `TrainingAttentionMonitor` describes: save_frequency=100,
            save_on_epochs=(1, 5, 10), visualization_types=("heatmap", "statistics"),
            layers_to_visualize=(0, -1), heads_to_visualize="average", max_workers=2,
            batch_idx_to_visualize=0, save_raw_weights=False, use_tensorboard=True, capture="auto",
            roles={}, batch_dim=None, forward_fn=None, probe=None, tokenizer=None, patch_grid=None,
            statistics_queries=1024, image_format="png", pooling="mass", maps="drawn",
            maps_side=128, pack=False, color_scale="auto", ranks="zero", coordinates=None,
            rank=None, max_overhead=0.005, disk_budget=None, on_full="drop", ring_bytes=None,
            on_device=False, keep_last=0, alerts="default", on_alert=None, notify=None,
            notify_level="warn", notify_pictures=False, renderer="own", renderer_cpus=None,
            close_timeout=60.0, mirror=None, mirror_grace=300.0, config=None, mode=0o700.

    Raises:
        TypeError: An option has a value of the wrong kind, or a keyword is no option.
        ValueError: An option has a value that is not allowed; the message says what is.
        ImportError: Lightning is not installed.
    """

    _public_class: Any
    """The class that was called. An instance's own class adds the bases that its Trainer needs."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        public_class: Any = cls
        instance: Self = object.__new__(_with_bases(public_class, *_callback_classes()))
        return instance

    def __init__(
        self,
        save_dir: str | PathLike[str] | None = None,
        *,
        stop_on: Severity | None = None,
        **settings: Unpack[CallbackSettings],
    ) -> None:
        self._training = MonitoredTraining(save_dir, settings, stop_on)
        self._capture_block = ExitStack()
        self._step = 0
        self._lr: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy, also in a spawned process, gets the options but no running monitor.
        training = self._training
        make = partial(self._public_class, stop_on=training.stop_on, **training.options)
        return make, (training.save_dir,)

    @property
    def state_key(self) -> str:
        """The callback's name in checkpoints: the public one, or that of a subclass."""
        public_class = self._public_class
        name: str = public_class.__qualname__
        return "AttentionCallback" if public_class is LightningAttentionCallback else name

    @property
    def monitor(self) -> AttentionMonitor | None:
        """The monitor of the current training, or of the last one; None before the first."""
        return self._training.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        several = self._training.options.get("ranks", "zero") != "zero"
        self._training.start(
            pl_module,
            Path(trainer.default_root_dir) if several else _log_dir(trainer),
            trainer.global_rank,
            compiled=getattr(pl_module, "_compiler_ctx", None) is not None,
            has_batch=True,
            config=getattr(pl_module, "hparams", None),
        )

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._capture_block.close()
        self._step = trainer.global_step
        self._lr = learning_rate(trainer.optimizers[0]) if trainer.optimizers else None
        if self.monitor is not None and self._training.uses_model_forward:
            epoch = trainer.current_epoch
            self._capture_block.enter_context(self.monitor.capture(self._step, batch, epoch=epoch))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        if pl_module.automatic_optimization:  # else this may be in the middle of the step
            self._capture_block.close()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._capture_block.close()
        if self.monitor is None or trainer.global_step == self._step:
            return  # gradients are being accumulated: the step's last batch is taken
        self.monitor.log_attention(
            pl_module,
            None if self._training.uses_model_forward else batch,
            step=self._step,
            loss=_loss(outputs, trainer.accumulate_grad_batches),
            epoch=trainer.current_epoch,
            lr=self._lr,
        )
        if self._training.is_to_stop(trainer.world_size):
            trainer.should_stop = True

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._capture_block.close()
        self._training.finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._capture_block.__exit__(type(exception), exception, exception.__traceback__)
        self._training.finish(exception)


AttentionCallback = LightningAttentionCallback  # the name to import: the module says whose it is


def _callback_classes() -> list[type]:
    """Return the Callback of each package that is imported, or else of one that can be."""
    imported = [sys.modules[package].Callback for package in _PACKAGES if sys.modules.get(package)]
    if imported:
        return imported
    for package in _PACKAGES:
        try:
            return [importlib.import_module(package).Callback]
        except ImportError:
            continue
    raise ImportError(
        "attnmon.integrations.lightning needs Lightning: pip install 'attnmon[lightning]'"
    )


@cache
def _with_bases(cls: Any, *bases: Any) -> Any:
    """Return a subclass of both `cls` and the bases that it lacks, by the name of `cls`."""
    missing = (base for base in bases if not issubclass(cls, base))
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "_public_class": cls}
    return type(cls.__name__, (cls, *missing), names)


def _log_dir(trainer: Any) -> Path:
    """Return the directory of the first logger. `trainer.log_dir` would ask other processes.

    It may differ between processes, since each may have counted the versions there by itself.
    """
    for logger in trainer.loggers[:1]:
        folder = getattr(logger, "log_dir", None) or logger.save_dir
        if folder:
            return Path(folder)
    return Path(trainer.default_root_dir)


def _loss(outputs: Any, accumulated: int) -> Tensor | None:
    """Return the training step's loss, which Lightning divided by the accumulated batches."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return loss.detach() * accumulated if isinstance(loss, Tensor) else None
