"""The monitor that draws. `scripts/write_option_docs.py` writes the `Args` below."""

from collections.abc import Iterable
from os import PathLike
from typing import Unpack

from attnmon.config.settings import checked_settings
from attnmon.monitor.attention_monitor import AttentionMonitor
from attnmon.options import DEFAULT_EPOCHS, Heads, Layers, Options


class TrainingAttentionMonitor(AttentionMonitor):
    """Monitor that draws a transformer's attention while it trains, with statistics.

    Make it before the training loop, call `log_attention` at each step, and `close` at the end; or
    use it in a `with` statement. Pictures, statistics and TensorBoard logs are made in another
    process. `docs/guide.md` shows examples.

    Args:
        save_dir (str | PathLike[str]): Directory that everything is written to. It is made if need
            be, readable by its owner only, since attention shows training text. Default:
            "./attention_logs".
        save_frequency (int): Steps from one capture to the next: a step is due when `step %
            save_frequency == 0`, and the first one that is logged. Default: 100.
        save_on_epochs (Iterable[int] | None): Epochs whose first logged step is due, too; needs
            `epoch=` in `log_attention`. `None` is no epoch. Default: (1, 5, 10).
        visualization_types (Iterable[str]): What is made: pictures of the kinds `"heatmap"`,
            `"multi_head"`, `"layer_comparison"`, `"alignment"`, `"head_matrix"`, `"rollout"`,
            `"surface3d"`, `"image_overlay"`, `"rollout_overlay"`, `"animation"` and `"timeline"`
            (see "Kinds of pictures" in docs/guide.md), and `"statistics"` for `statistics.json`.
            Default: ("heatmap", "statistics").
        layers_to_visualize (str | int | Iterable[int | str] | None): Layers that are captured:
            indices within each kind of layer, negative from the end; names or patterns of modules
            (`"decoder.layers.*"`); `None` or `"all"`. Default: (0, -1).
        heads_to_visualize ("average" | "all" | int | Iterable[int]): Heads that are captured:
            `"average"` and `"all"` take all of them; or one index, or a list. Default: "average".
        max_workers (int): Drawing processes at most; they are started when there is work for them.
            Default: 2.
        batch_idx_to_visualize (int): Index in the batch of the sample that is captured; of a
            smaller batch the last one. Default: 0.
        save_raw_weights (bool): Whether every weight of the layers and heads captured is written,
            as safetensors. Default: False.
        use_tensorboard (bool): Whether scalars and pictures are written for TensorBoard, too.
            Default: True.
        capture ("auto" | "forward" | "probe"): Where attention is seen: `"probe"`, an extra forward
            of one sample; `"forward"`, the model's own; `"auto"`, its own wherever that is safe.
            Default: "auto".
        roles (Mapping[str, str]): Module names, or patterns such as `"*.cross.*"`, to
            `"encoder_self"`, `"decoder_self"` or `"decoder_cross"`, where the model's structure
            does not tell it. Default: {}.
        batch_dim (int | None): Dimension of the batch in the model's inputs; `None` finds it out.
            Default: None.
        forward_fn (Callable[..., Any] | None): `forward_fn(model, enc, dec)` calls the model;
            `None` calls `model(enc, dec)`. Default: None.
        probe (Any): A batch of yours that is looked at at every due step, in an extra forward, in
            place of the training's: so maps of different steps and runs show the same text. What
            `enc` may be, or a pair (`enc`, `dec`); see "The same text every time" in docs/guide.md.
            Default: None.
        tokenizer (Any): What labels the axes with the sample's tokens: a tokenizer such as
            transformers' (`convert_ids_to_tokens`), for models that are given `input_ids`; or a
            function of the batch that returns what "`tokens`" in docs/guide.md may be. The
            Trainer's is found. Default: None.
        patch_grid (tuple[int, int] | None): Rows and columns of patches that a vision model cuts
            its image into, such as `(14, 14)`; tokens beside them are taken to come first. `None`
            finds it out: see "Attention over the image" in docs/guide.md. Default: None.
        statistics_queries (int | "all"): Queries that statistics without pictures use at most; of a
            longer sequence they are evenly spaced, and `queries_used` says how many. `"all"` uses
            each. Default: 1024.
        image_format ("png" | "svg" | "pdf"): Format of the pictures on disk: `"png"`, `"svg"` or
            `"pdf"`; TensorBoard gets PNG in any case. Default: "png".
        pooling ("mass" | "max"): How long sequences are pooled for pictures: `"mass"` adds up the
            keys of a cell, so that rows still sum to 1; `"max"` keeps thin lines. Default: "mass".
        maps ("drawn" | "all" | None): Layers whose maps are kept for `attnmon view`, `compare` and
            the report, every head in one byte a cell: `"drawn"`, those that pictures are made of,
            so that the lightweight monitor keeps none; `"all"`, every layer that is seen; `None`,
            none. See [The maps, kept small](formats.md#maps). Default: "drawn".
        maps_side (int): Cells a side of these maps at most; longer sequences are pooled by mass.
            Default: 128.
        pack (bool): Whether the pictures of a step, its maps and `statistics.json`, are one file,
            `step_100.zip`: for clusters that count files. Default: False.
        color_scale ("auto" | "fixed"): Where the colours of a picture end: `"auto"`, at a round
            number above its largest weight, apart from those of queries that see less than a
            sixteenth of the keys that others see, as the first ones of a causal map; `"fixed"`, at
            1, so that pictures of different steps compare by colour. Default: "auto".
        ranks ("zero" | "all" | "model" | int | Iterable[int]): Which of several processes are
            watched: `"zero"`, `"all"`, one or a list; `"model"`, those that hold one replica of a
            model that is split (see "Several processes" in docs/guide.md). Default: "zero".
        coordinates (Any): Which part of a split model this process holds: a DeviceMesh with names,
            or a mapping such as `{"pp": (0, 2), "tp": (1, 4), "dp": (0, 8)}` of (index, size).
            `None` finds it out from PyTorch's DeviceMesh or Megatron's state. Default: None.
        rank (int | None): Rank of this process; `None` finds it out. Default: None.
        max_overhead (float | None): Share of training time that the monitor may take, above 0 and
            at most 1; beyond it captures become rarer. `None` is no limit. Default: 0.005.
        disk_budget (int | str | None): Bytes that the directory may hold, or text such as `"2 GB"`;
            beyond it pictures are thinned out. `None` is no bound; see "A bound for the disk" in
            docs/guide.md. Default: None.
        on_full ("drop" | "wait"): When the renderer is behind: `"drop"` the capture and count it,
            or `"wait"`. Default: "drop".
        ring_bytes (int | str | None): Bytes of shared memory for captures on their way, at most, or
            text such as `"200 MB"`. `None` is 64 MiB as captures need it, and more where one
            capture, or the window of `keep_last`, takes more: an eighth of what is free at most,
            and 1 GiB. Less is taken where less is free. Default: None.
        on_device (bool): Whether a layer on a CUDA device is summed up there, so that kilobytes
            leave it and not queries and keys, with the pictures as they are without it: for
            sequences of hundreds of positions and more. Not tried on a device yet; see [On the
            device](how-it-works.md#on-the-device). Default: False.
        keep_last (int): Number of steps that are not due but retained all the same, and drawn when
            training breaks: see "What happened before it broke" in docs/guide.md. Default: 0.
        alerts ("default" | Iterable[Any]): Rules that judge the training: `"default"` for all of
            them, `[]` for none, or a list of names, of settings such as `"logit_growth.top=80"`,
            and of rules: see "Alerts" in docs/guide.md. Default: "default".
        on_alert (Callable[[Alert], Any] | None): Function that is called with each alert that
            fires, becomes more serious or is over: in the training process, inside the next
            `log_attention`. Default: None.
        notify (str | None): Address that alerts are sent to: a webhook of Slack or Discord, a topic
            of ntfy, or any that takes JSON. It is written nowhere. `None` takes the environment
            variable `ATTNMON_NOTIFY`, if it is set: see "Messages" in docs/guide.md. Default: None.
        notify_level ("info" | "warn" | "error"): The least serious alert that is sent there:
            `"info"`, `"warn"` or `"error"`. Default: "warn".
        notify_pictures (bool): Whether the picture that an alert names is sent along: it may show
            tokens of the training data. Otherwise words and numbers are all that is sent. Default:
            False.
        renderer (str): Process that draws: `"own"` starts one; `"attach"`, or the path of a socket,
            joins one that listens: see "One renderer for several trainings" in docs/guide.md. The
            environment variable `ATTNMON_RENDERER` replaces this option. Default: "own".
        renderer_cpus (Iterable[int] | None): Processors, such as `[6, 7]`, that the monitor's own
            renderer keeps to (Linux); `None` is all. Default: None.
        close_timeout (float): Seconds that `close()` waits at most; the renderer goes on by itself
            after that. Default: 60.0.
        mirror (str | None): Where a process of its own uploads what is written, while the run goes
            on: `"s3://bucket/prefix"`, `"gs://…"`, `"az://…"`, or any URL that fsspec opens; `None`
            is nowhere. Needs the extra `[cloud]`; see "In a bucket" in docs/guide.md. Default:
            None.
        mirror_grace (float): Seconds that uploading goes on after the end of the run, at most;
            `attnmon sync` sends what is left then. Default: 300.0.
        config (Any): The training's own configuration, to be kept in `run.json`: a mapping, a
            dataclass, argparse's namespace, or what has a `to_dict()`. Values that look like
            secrets are left out. The callbacks give the trainer's. Default: None.
        mode (int): Who may enter the folders that are made, as for `chmod`; files get the same,
            less the right to execute. The default, `0o700`, lets in their owner only; `0o750` the
            group, too, and `0o2770` shares all with the group of the folder above. A directory that
            is there keeps its own. Default: 0o700.

    Raises:
        TypeError: An option has a value of the wrong kind, or a keyword is no option.
        ValueError: An option has a value that is not allowed; the message says what is.
        OSError: `save_dir` cannot be written to.
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
