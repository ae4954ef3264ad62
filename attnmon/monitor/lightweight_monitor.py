"""The monitor that computes statistics only.

`scripts/write_option_docs.py` writes the `Args` below.
"""

from collections.abc import Iterable
from os import PathLike
from typing import Unpack

from attnmon.config.settings import checked_settings
from attnmon.monitor.attention_monitor import AttentionMonitor
from attnmon.options import DEFAULT_EPOCHS, Layers, Options


class LightweightAttentionMonitor(AttentionMonitor):
    """Monitor that computes statistics of all layers and heads, and draws no pictures.

    It writes `history.jsonl`, `summary.json` and TensorBoard's scalars. It is used as
    `TrainingAttentionMonitor` is.

    Args:
        save_dir (str | PathLike[str]): Directory that everything is written to. It is made if need
            be, readable by its owner only, since attention shows training text. Default:
            "./attention_logs".
        save_frequency (int): Steps from one capture to the next: a step is due when `step %
            save_frequency == 0`, and the first one that is logged. Default: 50.
        save_on_epochs (Iterable[int] | None): Epochs whose first logged step is due, too; needs
            `epoch=` in `log_attention`. `None` is no epoch. Default: (1, 5, 10).
        layers_to_visualize (str | int | Iterable[int | str] | None): Layers that are captured:
            indices within each kind of layer, negative from the end; names or patterns of modules
            (`"decoder.layers.*"`); `None` or `"all"`. Default: None.
        batch_idx_to_visualize (int): Index in the batch of the sample that is captured; of a
            smaller batch the last one. Default: 0.
        use_tensorboard (bool): Whether scalars and pictures are written for TensorBoard, too.
            Default: True.
        **options: The keyword options that `TrainingAttentionMonitor` describes: capture="auto",
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
        OSError: `save_dir` cannot be written to.
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
