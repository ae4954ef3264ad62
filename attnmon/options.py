"""What there is to choose: names, kinds and the settings that few people need."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypedDict

PICTURES = (
    "heatmap",
    "multi_head",
    "layer_comparison",
    "alignment",
    "head_matrix",
    "rollout",
    "surface3d",
    "animation",
    "timeline",
)
"""Kinds of pictures that are drawn."""
VISUALIZATION_TYPES = (*PICTURES, "statistics")
DEFAULT_EPOCHS = (1, 5, 10)

Heads = Literal["average", "all"] | int | Iterable[int]
Layers = str | int | Iterable[int | str] | None
Ranks = Literal["zero", "all"] | int | Iterable[int]
MOST_KEPT = 10_000
"""Steps: one message names them all."""
ROLES = ("encoder_self", "decoder_self", "decoder_cross")


class Options(TypedDict, total=False):
    """Settings that both monitors take and few people need."""

    capture: Literal["auto", "forward", "probe"]
    """Where attention is seen: in the model's own "forward", in an extra one of one sample (the
    "probe"), or "auto": in its own wherever that is safe."""
    roles: Mapping[str, str]
    """Module names, or patterns of them, to "encoder_self", "decoder_self" or "decoder_cross"."""
    batch_dim: int | None
    """Dimension of the batch in the model's inputs; None finds it out."""
    forward_fn: Callable[..., Any] | None
    """``forward_fn(model, enc, dec)`` calls the model; None calls it as is usual."""
    statistics_queries: int | Literal["all"]
    """Of more queries than this, so many evenly spaced ones serve for statistics without maps."""
    pooling: Literal["mass", "max"]
    """How long sequences are pooled to the cells of a picture: by mass, rows still sum to 1."""
    color_scale: Literal["auto", "fixed"]
    """Where the colours of a picture end: at a round number above its largest weight, or at 1, so
    that pictures of different steps can be compared by colour."""
    ranks: Ranks
    """Which processes of a distributed training are watched: "zero", "all", or some."""
    rank: int | None
    """Which of them this is; None finds it out."""
    max_overhead: float | None
    """The share of training time that the monitor may take; None is no limit."""
    image_format: Literal["png", "svg", "pdf"]
    """Of the pictures on disk; TensorBoard gets PNG in any case."""
    pack: bool
    """Whether the pictures of a step are one zip file instead of a folder of files."""
    disk_budget: int | str | None
    """What the run's directory may hold: bytes, or text such as "2 GB". The oldest pictures go
    first; numbers stay. None is no bound."""
    on_full: Literal["drop", "wait"]
    """When the renderer is behind: "drop" the capture and count it, or "wait" for room."""
    ring_bytes: int | str | None
    """Shared memory for captures on their way, at most: bytes, or text such as "1 GB". None is 64
    MiB, and more where a single capture takes more."""
    keep_last: int
    """So many steps that are not due are kept, each for a while, and drawn when training breaks."""
    renderer: str
    """"own" starts one; "attach" joins the `attnmon-renderer` of this machine; a path is its
    socket. ATTNMON_RENDERER in the environment goes before."""
    renderer_cpus: Iterable[int] | None
    """Processors, by number, that the renderer keeps to; None is all of them."""
    close_timeout: float
    """Seconds that `close` waits for the last pictures, at most."""
