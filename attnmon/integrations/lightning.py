"""For the Trainer of Lightning, from `lightning.pytorch` or from `pytorch_lightning`.

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

from attnmon.integrations.trainer_callback import WatchedTraining, learning_rate
from attnmon.monitor import AttentionMonitor
from attnmon.options import CallbackSettings

_TREES = ("lightning.pytorch", "pytorch_lightning")
"""The same framework under two names, and a Trainer of one refuses a Callback of the other."""


class AttentionCallback:
    """Watches the attention of the module that a Trainer trains, in its own training step.

    Takes the settings of `TrainingAttentionMonitor`; `save_dir` is `attention_logs` below the
    directory of the Trainer's first logger, if it is not given. Steps are numbered as in the
    Trainer's log, by `trainer.global_step` when the step begins, from 0; epochs by
    `trainer.current_epoch`. The loss is what the training step returned.

    An instance is a Callback of whichever tree has been imported by the time it is made.
    """

    _made_as: Any
    """The class that was called; an instance's own also has the bases that its Trainer expects."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made_as: Any = cls
        of_the_trees: Self = object.__new__(_with_bases(made_as, *_callback_classes()))
        return of_the_trees

    def __init__(
        self, save_dir: str | PathLike[str] | None = None, **settings: Unpack[CallbackSettings]
    ) -> None:
        self._training = WatchedTraining(save_dir, settings)
        self._block = ExitStack()
        self._step = 0
        self._lr: float | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # Into processes that are spawned, and copies: the settings, and not a monitor under way.
        return partial(self._made_as, **self._training.chosen), (self._training.save_dir,)

    @property
    def monitor(self) -> AttentionMonitor | None:
        """The monitor of the training that goes on, or of the last one."""
        return self._training.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        several = self._training.chosen.get("ranks", "zero") != "zero"
        self._training.begin(
            pl_module,
            Path(trainer.default_root_dir) if several else _log_dir(trainer),
            trainer.global_rank,
            compiled=getattr(pl_module, "_compiler_ctx", None) is not None,
            has_batch=True,
        )

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._block.close()
        self._step = trainer.global_step
        self._lr = learning_rate(trainer.optimizers[0]) if trainer.optimizers else None
        if self.monitor is not None and self._training.looks_on:
            epoch = trainer.current_epoch
            self._block.enter_context(self.monitor.capture(self._step, batch, epoch=epoch))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        if pl_module.automatic_optimization:  # else this may be in the middle of the step
            self._block.close()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._block.close()
        if self.monitor is None or trainer.global_step == self._step:
            return  # gradients are being accumulated: the step's last batch is taken
        self.monitor.log_attention(
            pl_module,
            None if self._training.looks_on else batch,
            step=self._step,
            loss=_loss(outputs, trainer.accumulate_grad_batches),
            epoch=trainer.current_epoch,
            lr=self._lr,
        )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._block.close()
        self._training.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._block.__exit__(type(exception), exception, exception.__traceback__)
        self._training.end(exception)


def _callback_classes() -> list[type]:
    """The Callback of each tree that is imported; of the first that can be, if none is yet."""
    imported = [sys.modules[tree].Callback for tree in _TREES if sys.modules.get(tree)]
    if imported:
        return imported
    for tree in _TREES:
        try:
            return [importlib.import_module(tree).Callback]
        except ImportError:
            continue
    raise ImportError(
        "attnmon.integrations.lightning needs Lightning: pip install 'attnmon[lightning]'"
    )


@cache
def _with_bases(cls: Any, *bases: Any) -> Any:
    missing = (base for base in bases if not issubclass(cls, base))
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "_made_as": cls}
    return type(cls.__name__, (cls, *missing), names)


def _log_dir(trainer: Any) -> Path:
    """Where the first logger writes. `trainer.log_dir` would ask the other processes.

    It may differ between processes: each may have counted the versions there by itself.
    """
    for logger in trainer.loggers[:1]:
        folder = getattr(logger, "log_dir", None) or logger.save_dir
        if folder:
            return Path(folder)
    return Path(trainer.default_root_dir)


def _loss(outputs: Any, parts: int) -> Tensor | None:
    """The training step's loss, which Lightning divides by the number of accumulated batches."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return loss.detach() * parts if isinstance(loss, Tensor) else None
