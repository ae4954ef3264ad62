"""The callback for the Trainer of Hugging Face's transformers.

trainer = Trainer(model, args, train_dataset=…, callbacks=[AttentionCallback()])
"""

import math
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from attnmon.integrations.trainer_callback import MonitoredTraining, learning_rate
from attnmon.link.records.alert import Severity
from attnmon.monitor import AttentionMonitor
from attnmon.options import CallbackSettings

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ImportError(
        "attnmon.integrations.huggingface needs transformers: pip install 'attnmon[huggingface]'"
    ) from error


class TrainerAttentionCallback(TrainerCallback):
    """Callback that monitors the attention of the model that a Trainer trains.

    Attention is captured in the model's own forward. The monitor is made when training begins and
    closed when it ends. Steps have the numbers of the Trainer's log: optimizer steps, from 1.
    Epochs are those completed before. The loss is the last that the Trainer has logged, so let its
    `logging_steps` divide `save_frequency`. With `stop_on="error"` (or "warn") an alert that is as
    serious ends a training of a single process, after the step at which it is heard of.

    Args:
        save_dir (str | PathLike[str] | None): Directory that everything is written to; `None` is
            `attention_logs` below the Trainer's output directory. Default: None.
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
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] | None = None,
        *,
        stop_on: Severity | None = None,
        **settings: Unpack[CallbackSettings],
    ) -> None:
        self._training = MonitoredTraining(save_dir, settings, stop_on)
        self._unlogged_step = False
        """Whether a step has ended that was not logged yet."""
        self._lr: float | None = None

    @property
    def monitor(self) -> AttentionMonitor | None:
        """The monitor of the current training, or of the last one; None before the first."""
        return self._training.monitor

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self._unlogged_step = False
        self._training.start(
            model,
            Path(args.output_dir),
            args.process_index,
            compiled=args.torch_compile,
            has_batch=False,
            config=args,
            tokenizer=kwargs.get("processing_class"),
        )

    def on_epoch_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        if self.monitor is not None:
            self.monitor.attach(model)  # the first step of an epoch may be due

    def on_step_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self._log_last_step(state, model)
        self._lr = learning_rate(kwargs.get("optimizer"))

    def on_step_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self._unlogged_step = True
        if not control.should_log:
            self._log_last_step(state, model)  # else when the Trainer has logged this step's loss
        if self._training.is_to_stop(args.world_size):
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        self._log_last_step(state, model)

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self._log_last_step(state, model)
        self._training.finish()

    def _log_last_step(self, state: Any, model: nn.Module) -> None:
        """Log the last step that ended, unless that was done already."""
        if not self._unlogged_step or self.monitor is None:
            return
        self._unlogged_step = False
        self.monitor.log_attention(
            model,
            step=state.global_step,
            loss=_last_logged_loss(state),
            epoch=math.ceil(state.epoch) - 1,
            lr=self._lr,
        )


AttentionCallback = TrainerAttentionCallback  # the name to import: the module says whose it is


def _last_logged_loss(state: Any) -> float | None:
    losses = (entry["loss"] for entry in reversed(state.log_history) if "loss" in entry)
    return next(losses, None)
