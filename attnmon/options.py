"""The types of the options, as a user writes them, and the words they may be."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

from attnmon.link.records.alert import Alert, Severity

PICTURES = (
    "heatmap",
    "multi_head",
    "layer_comparison",
    "alignment",
    "head_matrix",
    "rollout",
    "surface3d",
    "image_overlay",
    "rollout_overlay",
    "animation",
    "timeline",
)
"""Kinds of pictures."""
VISUALIZATION_TYPES = (*PICTURES, "statistics")
DEFAULT_EPOCHS = (1, 5, 10)


class AccessMode(int):
    """Who may enter a folder: a number that is shown in octal."""

    def __repr__(self) -> str:
        return f"{self:#o}"


PRIVATE_FOLDER = AccessMode(0o700)


Heads = Literal["average", "all"] | int | Iterable[int]
Layers = str | int | Iterable[int | str] | None
Ranks = Literal["zero", "all", "model"] | int | Iterable[int]
CaptureMode = Literal["auto", "forward", "probe"]
Pooling = Literal["mass", "max"]
ColorScale = Literal["auto", "fixed"]
ImageFormat = Literal["png", "svg", "pdf"]
Maps = Literal["drawn", "all"]
WhenFull = Literal["drop", "wait"]

ALERT_RULES = (
    "nonfinite",
    "future_leak",
    "padding_leak",
    "scale_odd",
    "logit_growth",
    "logit_high",
    "attention_collapse",
    "dead_attention",
    "loss_spike",
)
"""The rules that judge a training."""

MOST_KEPT = 10_000
"""The largest `keep_last`, in steps: one message names all that are retained."""
ROLES = ("encoder_self", "decoder_self", "decoder_cross")


class Options(TypedDict, total=False):
    """Options of both monitors, by keyword only.

    The docstring of `TrainingAttentionMonitor` says what each one does.
    """

    capture: CaptureMode
    roles: Mapping[str, str]
    batch_dim: int | None
    forward_fn: Callable[..., Any] | None
    probe: Any
    tokenizer: Any
    patch_grid: tuple[int, int] | None
    statistics_queries: int | Literal["all"]
    image_format: ImageFormat
    pooling: Pooling
    maps: Maps | None
    maps_side: int
    pack: bool
    color_scale: ColorScale
    ranks: Ranks
    coordinates: Any
    rank: int | None
    max_overhead: float | None
    disk_budget: int | str | None
    on_full: WhenFull
    ring_bytes: int | str | None
    on_device: bool
    keep_last: int
    alerts: Literal["default"] | Iterable[Any]
    on_alert: Callable[[Alert], Any] | None
    notify: str | None
    notify_level: Severity
    notify_pictures: bool
    renderer: str
    renderer_cpus: Iterable[int] | None
    close_timeout: float
    mirror: str | None
    mirror_grace: float
    config: Any
    mode: int


class CallbackSettings(Options, total=False):
    """Every option of `TrainingAttentionMonitor` but `save_dir`, by keyword."""

    save_frequency: int
    save_on_epochs: Iterable[int] | None
    visualization_types: Iterable[str]
    layers_to_visualize: Layers
    heads_to_visualize: Heads
    max_workers: int
    batch_idx_to_visualize: int
    save_raw_weights: bool
    use_tensorboard: bool
