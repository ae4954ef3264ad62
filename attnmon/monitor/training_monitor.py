"""The monitor that draws."""

from collections.abc import Iterable
from os import PathLike
from typing import Unpack

from attnmon.config.settings import checked_settings
from attnmon.monitor.attention_monitor import AttentionMonitor
from attnmon.options import DEFAULT_EPOCHS, Heads, Layers, Options


class TrainingAttentionMonitor(AttentionMonitor):
    """Pictures, statistics and TensorBoard of a transformer's attention, while it trains.

    Raises `ValueError` or `TypeError` for a setting that cannot be, `OSError` for a directory
    that cannot be written to. `docs/guide.md` describes every setting; what else there is to
    choose, with a word on each, is in `attnmon.options.Options`.
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
            checked_settings(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                visualization_types=visualization_types,
                layers_to_visualize=layers_to_visualize,
                heads_to_visualize=heads_to_visualize,
                max_workers=max_workers,
                batch_idx_to_visualize=batch_idx_to_visualize,
                save_raw_weights=save_raw_weights,
                use_tensorboard=use_tensorboard,
                options=options,
            )
        )
