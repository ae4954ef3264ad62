"""The two monitors: what a user touches.

`log_attention` goes the way of the folder: is the step due, capture, reduce, hand over. It waits
for nothing, and no error of ours leaves it.
"""

from collections.abc import Iterable
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, Self, Unpack

from torch import Tensor, nn

from attnmon import settings
from attnmon.capture import given
from attnmon.handover import Handover, Moment
from attnmon.schedule import Schedule
from attnmon.settings import DEFAULT_EPOCHS, Heads, Layers, Options, Settings
from attnmon.watch import Watcher


class AttentionMonitor:
    """What both monitors do; they differ in what they ask the renderer for."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._schedule = Schedule(chosen.save_frequency, chosen.save_on_epochs)
        self._handover = Handover(chosen)
        self._guard = self._handover.guard
        self._tally = self._handover.tally
        self._watcher = Watcher(chosen, self._guard)
        self._enabled = True

    def log_attention(
        self,
        model: nn.Module | None = None,
        enc: Any = None,
        dec: Any = None,
        step: int | None = None,
        loss: float | Tensor | None = None,
        *,
        epoch: int | None = None,
        lr: float | None = None,
    ) -> None:
        """Capture the model's attention for one sample of this batch, if the step is due.

        `enc` and `dec` are the model's inputs: tensors, tuples of positional or dicts of keyword
        arguments; `dec` may be absent. Without `step` the calls are counted. Never raises, never
        waits for a picture or the disk, and leaves the model, its gradients and every random
        state as they were.
        """
        tally = self._tally
        if step is None:
            step = tally.steps
        tally.steps += 1
        if not self._enabled or self._guard.off:
            return
        with self._guard:
            due = self._schedule.due(step, epoch)
            if due is not None:
                moment = Moment(int(step), due == "epoch", epoch, loss, lr)
                self._handover.capture(moment, partial(self._watcher.watch, model, enc, dec))
        self._watcher.forget_recorded()

    def record(
        self,
        name: str,
        *,
        weights: Tensor | None = None,
        query: Tensor | None = None,
        key: Tensor | None = None,
        mask: Tensor | None = None,
        scale: float | None = None,
        causal: bool = False,
        role: str | None = None,
    ) -> None:
        """Give attention you have yourself to the next `log_attention`, under this name.

        Either `weights` [batch, heads, queries, keys], or `query` and `key` [batch, heads,
        positions, width] with a `mask` (bool: True may be attended; float: is added). Three
        dimensions are read as [batch, …] of one head. `role` is "encoder_self", "decoder_self" or
        "decoder_cross", where the name does not say it. Nothing is copied unless the step is due.
        """
        if not self._enabled or self._guard.off:
            return
        with self._guard:
            seen = given(
                name, weights=weights, query=query, key=key, mask=mask, scale=scale, causal=causal
            )
            self._watcher.record(seen, role)

    def enable(self) -> None:
        """Capture again."""
        self._enabled = True

    def disable(self) -> None:
        """Capture nothing until `enable`; calls cost next to nothing."""
        self._enabled = False

    @property
    def enabled(self) -> bool:
        """Whether due steps are captured: not disabled, not closed, not switched off."""
        return self._enabled and not self._guard.off and not self._handover.closed

    def close(self, timeout: float | None = None) -> dict[str, Any]:
        """Let the renderer finish, and return the accounts. Calling it again returns them again.

        Waits at most `timeout` seconds (`close_timeout` by default); what is not drawn by then
        is "pending", and the renderer goes on with it by itself. Afterwards
        captured == rendered + dropped + failed + pending.
        """
        self._enabled = False
        return self._handover.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class TrainingAttentionMonitor(AttentionMonitor):
    """Pictures, statistics and TensorBoard of a transformer's attention, while it trains.

    Raises `ValueError` or `TypeError` for a setting that cannot be, `OSError` for a directory
    that cannot be written to. `docs/guide.md` describes every setting, `options` included.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] = "./attention_logs",
        save_frequency: int = 100,
        save_on_epochs: Iterable[int] | None = DEFAULT_EPOCHS,
        visualization_types: Iterable[str] = ("heatmap", "statistics"),
        layers_to_visualize: Layers = (0, -1),
        heads_to_visualize: Heads = "average",
        max_workers: int = 2,
        batch_idx_to_visualize: int = 0,
        save_raw_weights: bool = False,
        use_tensorboard: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            settings.check(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                visualization_types=visualization_types,
                layers=layers_to_visualize,
                heads=heads_to_visualize,
                max_workers=max_workers,
                sample=batch_idx_to_visualize,
                save_raw_weights=save_raw_weights,
                use_tensorboard=use_tensorboard,
                options=options,
            )
        )


class LightweightAttentionMonitor(AttentionMonitor):
    """Statistics only, of all layers and heads: a JSON history and TensorBoard, no pictures.

    Raises as `TrainingAttentionMonitor` does.
    """

    def __init__(
        self,
        save_dir: str | PathLike[str] = "./attention_logs",
        save_frequency: int = 50,
        save_on_epochs: Iterable[int] | None = DEFAULT_EPOCHS,
        layers_to_visualize: Layers = None,
        batch_idx_to_visualize: int = 0,
        use_tensorboard: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            settings.check(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                layers=layers_to_visualize,
                sample=batch_idx_to_visualize,
                use_tensorboard=use_tensorboard,
                options=options,
            )
        )
