"""The monitor that computes statistics only."""

from collections.abc import Iterable
from os import PathLike
from typing import Unpack

from attnmon.config.settings import checked_settings
from attnmon.monitor.attention_monitor import AttentionMonitor
from attnmon.options import DEFAULT_EPOCHS, Layers, Options


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
            checked_settings(
                save_dir=save_dir,
                save_frequency=save_frequency,
                save_on_epochs=save_on_epochs,
                layers_to_visualize=layers_to_visualize,
                batch_idx_to_visualize=batch_idx_to_visualize,
                use_tensorboard=use_tensorboard,
                visualization_types=(),
                heads_to_visualize="all",
                max_workers=1,
                options=options,
            )
        )
