"""The table of options: for each its checked type, default, check and words for the documents.

To add an option for both monitors: its type in `attnmon.options.Options`, one field of `Settings`
here, and `make option-docs`, which writes its words into the guide and the docstrings.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

from attnmon.config import validation
from attnmon.config.alert_options import chosen_rules, notify_address
from attnmon.config.coordinates import Coordinates
from attnmon.config.run_config import config_json
from attnmon.config.validation import (
    Check,
    choice_of,
    choice_or_none,
    optional,
    switch,
    whole_number,
)
from attnmon.link.records.alert import Alert, Severity
from attnmon.link.records.run_setup import MOST_MAP_SIDE, ChosenRule
from attnmon.options import (
    DEFAULT_EPOCHS,
    MOST_KEPT,
    PRIVATE_FOLDER,
    CaptureMode,
    ColorScale,
    ImageFormat,
    Maps,
    Pooling,
    WhenFull,
)


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one option, apart from its types."""

    default: Any
    """As a user would write it: before the check."""
    check: Check
    summary: str
    """Effect and unit, in Markdown; links are relative to the guide."""


def option(default: Any, check: Check, summary: str, *, is_secret: bool = False) -> Any:
    """Return a required field of a dataclass that carries an `Option`; a secret is not shown."""
    return field(metadata={"option": Option(default, check, summary)}, repr=not is_secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A monitor's options in their checked form, and which process it is in."""

    save_dir: Path = option(
        "./attention_logs",
        validation.absolute_path,
        "Directory that everything is written to. It is made if need be, readable by its owner "
        "only, since attention shows training text.",
    )
    save_frequency: int = option(
        100,
        partial(whole_number, at_least=1),
        "Steps from one capture to the next: a step is due when `step % save_frequency == 0`, "
        "and the first one that is logged.",
    )
    save_on_epochs: frozenset[int] = option(
        DEFAULT_EPOCHS,
        validation.epochs,
        "Epochs whose first logged step is due, too; needs `epoch=` in `log_attention`. `None` "
        "is no epoch.",
    )
    visualization_types: tuple[str, ...] = option(
        ("heatmap", "statistics"),
        validation.visualization_types,
        'What is made: pictures of the kinds `"heatmap"`, `"multi_head"`, `"layer_comparison"`, '
        '`"alignment"`, `"head_matrix"`, `"rollout"`, `"surface3d"`, `"image_overlay"`, '
        '`"rollout_overlay"`, `"animation"` and `"timeline"` (see [Kinds of '
        'pictures](#kinds-of-pictures)), and `"statistics"` for `statistics.json`.',
    )
    layers_to_visualize: tuple[int | str, ...] | None = option(
        (0, -1),
        validation.layers,
        "Layers that are captured: indices within each kind of layer, negative from the end; "
        'names or patterns of modules (`"decoder.layers.*"`); `None` or `"all"`.',
    )
    heads_to_visualize: str | tuple[int, ...] = option(
        "average",
        partial(validation.word_or_indices, words=("average", "all")),
        'Heads that are captured: `"average"` and `"all"` take all of them; or one index, or a '
        "list.",
    )
    max_workers: int = option(
        2,
        partial(whole_number, at_least=1),
        "Drawing processes at most; they are started when there is work for them.",
    )
    batch_idx_to_visualize: int = option(
        0,
        partial(whole_number, at_least=0),
        "Index in the batch of the sample that is captured; of a smaller batch the last one.",
    )
    save_raw_weights: bool = option(
        False,
        switch,
        "Whether every weight of the layers and heads captured is written, as safetensors.",
    )
    use_tensorboard: bool = option(
        True,
        switch,
        "Whether scalars and pictures are written for TensorBoard, too.",
    )
    capture: CaptureMode = option(
        "auto",
        choice_of(CaptureMode),
        'Where attention is seen: `"probe"`, an extra forward of one sample; `"forward"`, the '
        'model\'s own; `"auto"`, its own wherever that is safe.',
    )
    roles: dict[str, str] = option(
        {},
        validation.roles,
        'Module names, or patterns such as `"*.cross.*"`, to `"encoder_self"`, `"decoder_self"` '
        'or `"decoder_cross"`, where the model\'s structure does not tell it.',
    )
    batch_dim: int | None = option(
        None,
        optional(partial(whole_number, at_least=0)),
        "Dimension of the batch in the model's inputs; `None` finds it out.",
    )
    forward_fn: Callable[..., Any] | None = option(
        None,
        optional(validation.function),
        "`forward_fn(model, enc, dec)` calls the model; `None` calls `model(enc, dec)`.",
    )
    probe: Any = option(
        None,
        validation.anything,
        "A batch of yours that is looked at at every due step, in an extra forward, in place of "
        "the training's: so maps of different steps and runs show the same text. What `enc` may "
        "be, or a pair (`enc`, `dec`); see [The same text every time](#the-same-text-every-time).",
    )
    tokenizer: Any = option(
        None,
        optional(validation.tokenizer),
        "What labels the axes with the sample's tokens: a tokenizer such as transformers' "
        "(`convert_ids_to_tokens`), for models that are given `input_ids`; or a function of the "
        "batch that returns what [`tokens`](#tokens-on-the-axes) may be. The Trainer's is found.",
    )
    patch_grid: tuple[int, int] | None = option(
        None,
        optional(validation.grid),
        "Rows and columns of patches that a vision model cuts its image into, such as `(14, 14)`; "
        "tokens beside them are taken to come first. `None` finds it out: see [Attention over the "
        "image](#attention-over-the-image).",
    )
    statistics_queries: int | None = option(
        1024,
        validation.query_limit,
        "Queries that statistics without pictures use at most; of a longer sequence they are "
        'evenly spaced, and `queries_used` says how many. `"all"` uses each.',
    )
    image_format: ImageFormat = option(
        "png",
        choice_of(ImageFormat),
        'Format of the pictures on disk: `"png"`, `"svg"` or `"pdf"`; TensorBoard gets PNG in '
        "any case.",
    )
    pooling: Pooling = option(
        "mass",
        choice_of(Pooling),
        'How long sequences are pooled for pictures: `"mass"` adds up the keys of a cell, so '
        'that rows still sum to 1; `"max"` keeps thin lines.',
    )
    maps: Maps | None = option(
        "drawn",
        choice_or_none(Maps),
        "Layers whose maps are kept for `attnmon view`, `compare` and the report, every head in "
        'one byte a cell: `"drawn"`, those that pictures are made of, so that the lightweight '
        'monitor keeps none; `"all"`, every layer that is seen; `None`, none. See [The maps, kept '
        "small](formats.md#maps).",
    )
    maps_side: int = option(
        128,
        partial(whole_number, at_least=1, at_most=MOST_MAP_SIDE),
        "Cells a side of these maps at most; longer sequences are pooled by mass.",
    )
    pack: bool = option(
        False,
        switch,
        "Whether the pictures of a step, its maps and `statistics.json`, are one file, "
        "`step_100.zip`: for clusters that count files.",
    )
    color_scale: ColorScale = option(
        "auto",
        choice_of(ColorScale),
        'Where the colours of a picture end: `"auto"`, at a round number above its largest '
        "weight, apart from those of queries that see less than a sixteenth of the keys that "
        'others see, as the first ones of a causal map; `"fixed"`, at 1, so that pictures of '
        "different steps compare by colour.",
    )
    ranks: str | tuple[int, ...] = option(
        "zero",
        partial(validation.word_or_indices, words=("zero", "all", "model")),
        'Which of several processes are watched: `"zero"`, `"all"`, one or a list; `"model"`, '
        "those that hold one replica of a model that is split (see [Several "
        "processes](#several-processes)).",
    )
    coordinates: Coordinates | None = option(
        None,
        optional(validation.coordinates),
        "Which part of a split model this process holds: a DeviceMesh with names, or a mapping "
        'such as `{"pp": (0, 2), "tp": (1, 4), "dp": (0, 8)}` of (index, size). `None` finds it '
        "out from PyTorch's DeviceMesh or Megatron's state.",
    )
    rank: int = option(
        None,
        optional(partial(whole_number, at_least=0)),
        "Rank of this process; `None` finds it out.",
    )
    max_overhead: float | None = option(
        0.005,
        optional(validation.fraction),
        "Share of training time that the monitor may take, above 0 and at most 1; beyond it "
        "captures become rarer. `None` is no limit.",
    )
    disk_budget: int | None = option(
        None,
        optional(validation.byte_count),
        'Bytes that the directory may hold, or text such as `"2 GB"`; beyond it pictures are '
        "thinned out. `None` is no bound; see [A bound for the disk](#a-bound-for-the-disk).",
    )
    on_full: WhenFull = option(
        "drop",
        choice_of(WhenFull),
        'When the renderer is behind: `"drop"` the capture and count it, or `"wait"`.',
    )
    ring_bytes: int | None = option(
        None,
        optional(validation.ring_bytes),
        'Bytes of shared memory for captures on their way, at most, or text such as `"200 MB"`. '
        "`None` is 64 MiB as captures need it, and more where one capture, or the window of "
        "`keep_last`, takes more: an eighth of what is free at most, and 1 GiB. Less is taken "
        "where less is free.",
    )
    on_device: bool = option(
        False,
        switch,
        "Whether a layer on a CUDA device is summed up there, so that kilobytes leave it and not "
        "queries and keys, with the pictures as they are without it: for sequences of hundreds of "
        "positions and more. Not tried on a device yet; see "
        "[On the device](how-it-works.md#on-the-device).",
    )
    keep_last: int = option(
        0,
        partial(whole_number, at_least=0, at_most=MOST_KEPT),
        "Number of steps that are not due but retained all the same, and drawn when training "
        "breaks: see [What happened before it broke](#what-happened-before-it-broke).",
    )
    alerts: tuple[ChosenRule, ...] = option(
        "default",
        chosen_rules,
        'Rules that judge the training: `"default"` for all of them, `[]` for none, or a list of '
        'names, of settings such as `"logit_growth.top=80"`, and of rules: see '
        "[Alerts](#alerts).",
    )
    on_alert: Callable[[Alert], Any] | None = option(
        None,
        optional(validation.callback),
        "Function that is called with each alert that fires, becomes more serious or is over: in "
        "the training process, inside the next `log_attention`.",
    )
    notify: str = option(
        None,
        notify_address,
        "Address that alerts are sent to: a webhook of Slack or Discord, a topic of ntfy, or any "
        "that takes JSON. It is written nowhere. `None` takes the environment variable "
        "`ATTNMON_NOTIFY`, if it is set: see [Messages](#messages).",
        is_secret=True,
    )
    notify_level: Severity = option(
        "warn",
        choice_of(Severity),
        'The least serious alert that is sent there: `"info"`, `"warn"` or `"error"`.',
    )
    notify_pictures: bool = option(
        False,
        switch,
        "Whether the picture that an alert names is sent along: it may show tokens of the training "
        "data. Otherwise words and numbers are all that is sent.",
    )
    renderer: str = option(
        "own",
        validation.renderer,
        'Process that draws: `"own"` starts one; `"attach"`, or the path of a socket, joins one '
        "that listens: see "
        "[One renderer for several trainings](#one-renderer-for-several-trainings). The "
        "environment variable `ATTNMON_RENDERER` replaces this option.",
    )
    renderer_cpus: tuple[int, ...] = option(
        None,
        validation.processors,
        "Processors, such as `[6, 7]`, that the monitor's own renderer keeps to (Linux); `None` "
        "is all.",
    )
    close_timeout: float = option(
        60.0,
        validation.seconds,
        "Seconds that `close()` waits at most; the renderer goes on by itself after that.",
    )
    mirror: str | None = option(
        None,
        optional(validation.mirror_url),
        "Where a process of its own uploads what is written, while the run goes on: "
        '`"s3://bucket/prefix"`, `"gs://…"`, `"az://…"`, or any URL that fsspec opens; `None` is '
        "nowhere. Needs the extra `[cloud]`; see [In a bucket](#in-a-bucket).",
    )
    mirror_grace: float = option(
        300.0,
        validation.seconds,
        "Seconds that uploading goes on after the end of the run, at most; `attnmon sync` sends "
        "what is left then.",
    )
    config: str = option(
        None,
        config_json,
        "The training's own configuration, to be kept in `run.json`: a mapping, a dataclass, "
        "argparse's namespace, or what has a `to_dict()`. Values that look like secrets are left "
        "out. The callbacks give the trainer's.",
    )
    mode: int = option(
        PRIVATE_FOLDER,
        validation.access_mode,
        "Who may enter the folders that are made, as for `chmod`; files get the same, less the "
        "right to execute. The default, `0o700`, lets in their owner only; `0o750` the group, "
        "too, and `0o2770` shares all with the group of the folder above. A directory that is "
        "there keeps its own.",
    )

    world_size: int
    """Number of processes that train together; 1 when it trains alone. No option: it is found."""

    @property
    def pictures(self) -> tuple[str, ...]:
        """The visualization types that are drawn, in the order asked for."""
        return tuple(kind for kind in self.visualization_types if kind != "statistics")

    @property
    def statistics_files(self) -> bool:
        """Whether each step gets a `statistics.json`."""
        return "statistics" in self.visualization_types

    @property
    def rank_is_selected(self) -> bool:
        """Whether this process is one of those that are watched."""
        if isinstance(self.ranks, tuple):
            return self.rank in self.ranks
        if self.ranks == "model":
            return self.coordinates is None or self.coordinates.is_of_first_replica
        return self.ranks == "all" or self.rank == 0

    @property
    def head_indices(self) -> tuple[int, ...] | None:
        """Indices of the heads to capture; None is all of them."""
        return self.heads_to_visualize if isinstance(self.heads_to_visualize, tuple) else None


OPTIONS: dict[str, Option] = {
    each.name: each.metadata["option"] for each in fields(Settings) if each.metadata
}
"""Every option by its name, in the order of the documents."""
