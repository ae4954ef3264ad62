"""What the user may choose, checked where it is chosen.

Every mistake that can be known at construction raises `ValueError` or `TypeError` here, before
training starts; what only shows in training is warned about and counted there.
"""

import difflib
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from attnmon.link.ring import SLOT_BYTES
from attnmon.ranks import this_process
from attnmon.sizes import size
from attnmon.values import choice, share, unknown, whole, wholes

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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A monitor's settings in their checked form; see `docs/guide.md` for each of them."""

    save_dir: Path
    """Absolute; not made yet."""
    save_frequency: int
    save_on_epochs: frozenset[int]
    pictures: tuple[str, ...]
    statistics_files: bool
    layers: tuple[int | str, ...] | None
    """Indices, negative from the end, or patterns of module names; None is all."""
    heads: str | tuple[int, ...]
    max_workers: int
    sample: int
    save_raw_weights: bool
    use_tensorboard: bool
    capture: str = "auto"
    roles: Mapping[str, str] = field(default_factory=dict)
    batch_dim: int | None = None
    forward_fn: Callable[..., Any] | None = None
    statistics_queries: int | None = 1024
    """None is all."""
    pooling: Literal["mass", "max"] = "mass"
    color_scale: Literal["auto", "fixed"] = "auto"
    image_format: Literal["png", "svg", "pdf"] = "png"
    pack: bool = False
    ranks: str | tuple[int, ...] = "zero"
    rank: int = 0
    world_size: int = 1
    max_overhead: float | None = 0.005
    disk_budget: int | None = None
    """Bytes; None is no bound."""
    on_full: str = "drop"
    ring_bytes: int | None = None
    """None is as many as it takes."""
    keep_last: int = 0
    renderer: str = "own"
    """Or "attach", or the path of a socket."""
    renderer_cpus: tuple[int, ...] = ()
    """None of them is all."""
    close_timeout: float = 60.0

    @property
    def takes_part(self) -> bool:
        """Whether this process is one of those that are watched."""
        if isinstance(self.ranks, tuple):
            return self.rank in self.ranks
        return self.ranks == "all" or self.rank == 0

    @property
    def head_indices(self) -> tuple[int, ...] | None:
        """The heads to take; None is all of them."""
        return self.heads if isinstance(self.heads, tuple) else None


def check(
    *,
    save_dir: Any,
    save_frequency: Any,
    save_on_epochs: Iterable[Any] | None,
    layers_to_visualize: Layers,
    batch_idx_to_visualize: Any,
    use_tensorboard: bool,
    visualization_types: Iterable[str] = (),
    heads_to_visualize: Heads = "all",
    max_workers: Any = 1,
    save_raw_weights: bool = False,
    options: Options,
) -> Settings:
    """Settings as the user gave them, checked. Nothing is made yet: `directory` does that."""
    _refuse_unknown(options)
    kinds = known_kinds(visualization_types)
    checked: dict[str, Any] = {
        "save_frequency": whole("save_frequency", save_frequency, at_least=1),
        "save_on_epochs": epochs(save_on_epochs),
        "pictures": tuple(kind for kind in kinds if kind != "statistics"),
        "statistics_files": "statistics" in kinds,
        "layers": chosen_layers(layers_to_visualize),
        "heads": chosen_heads(heads_to_visualize),
        "max_workers": whole("max_workers", max_workers, at_least=1),
        "sample": whole("batch_idx_to_visualize", batch_idx_to_visualize, at_least=0),
        "save_raw_weights": bool(save_raw_weights),
        "use_tensorboard": bool(use_tensorboard),
        **_checked_options(**options),
    }
    place = Path(save_dir).expanduser().absolute()  # a script may change its own directory
    return Settings(save_dir=place / checked.pop("folder"), **checked)


def _refuse_unknown(options: Mapping[str, object]) -> None:
    """Raise TypeError for a keyword that no monitor knows, with the nearest that one does."""
    for name in options:
        if name not in Options.__annotations__:
            known = (*_NAMES, *Options.__annotations__)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near and near[0] != name else ""
            there = ", ".join(Options.__annotations__)
            raise TypeError(f"unknown setting {name!r}.{hint} Further settings are {there}.")


_NAMES = (
    "save_dir", "save_frequency", "save_on_epochs", "visualization_types", "layers_to_visualize",
    "heads_to_visualize", "max_workers", "batch_idx_to_visualize", "save_raw_weights",
    "use_tensorboard",
)  # fmt: skip


def _checked_options(
    *,
    capture: Any = "auto",
    roles: Any = None,
    batch_dim: Any = None,
    forward_fn: Any = None,
    statistics_queries: Any = 1024,
    pooling: Any = "mass",
    color_scale: Any = "auto",
    image_format: Any = "png",
    pack: Any = False,
    ranks: Any = "zero",
    rank: Any = None,
    max_overhead: Any = 0.005,
    disk_budget: Any = None,
    on_full: Any = "drop",
    ring_bytes: Any = None,
    keep_last: Any = 0,
    renderer: Any = "own",
    renderer_cpus: Any = None,
    close_timeout: Any = 60.0,
) -> dict[str, Any]:
    if forward_fn is not None and not callable(forward_fn):
        raise TypeError(f"forward_fn={forward_fn!r}: give a function of (model, enc, dec)")
    if not isinstance(close_timeout, int | float) or not close_timeout >= 0:
        raise ValueError(f"close_timeout={close_timeout!r}: give seconds, 0 or more")
    return {
        "capture": choice("capture", capture, ("auto", "forward", "probe")),
        "roles": {str(k): choice("roles", v, ROLES) for k, v in dict(roles or {}).items()},
        "batch_dim": None if batch_dim is None else whole("batch_dim", batch_dim, at_least=0),
        "forward_fn": forward_fn,
        "statistics_queries": None
        if statistics_queries == "all"
        else whole("statistics_queries", statistics_queries, at_least=1),
        "pooling": choice("pooling", pooling, ("mass", "max")),
        "color_scale": choice("color_scale", color_scale, ("auto", "fixed")),
        "image_format": choice("image_format", image_format, ("png", "svg", "pdf")),
        "pack": bool(pack),
        **_process(chosen_ranks(ranks), rank),
        "max_overhead": None if max_overhead is None else share("max_overhead", max_overhead),
        "disk_budget": None if disk_budget is None else size("disk_budget", disk_budget),
        "on_full": choice("on_full", on_full, ("drop", "wait")),
        "ring_bytes": None
        if ring_bytes is None
        else whole("ring_bytes", size("ring_bytes", ring_bytes), at_least=SLOT_BYTES),
        "keep_last": whole("keep_last", keep_last, at_least=0, at_most=MOST_KEPT),
        "renderer": chosen_renderer(renderer),
        "renderer_cpus": () if renderer_cpus is None else cpus(renderer_cpus),
        "close_timeout": float(close_timeout),
    }


def known_kinds(given: Iterable[str]) -> tuple[str, ...]:
    """The kinds asked for, each once. Raises ValueError for an unknown one."""
    if isinstance(given, str):
        raise TypeError(f"visualization_types={given!r}: give a list, such as [{given!r}]")
    names = tuple(dict.fromkeys(given))
    for name in names:
        if name not in VISUALIZATION_TYPES:
            raise ValueError(unknown("visualization_types", name, VISUALIZATION_TYPES))
    return names


def chosen_layers(given: Layers) -> tuple[int | str, ...] | None:
    """None for all; else indices and name patterns, each once."""
    if given is None or given == "all":
        return None
    several = given if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    chosen = tuple(dict.fromkeys(_layer(item) for item in several))
    if not chosen:
        raise ValueError("layers_to_visualize=[]: nothing is chosen; name at least one, or 'all'")
    return chosen


def _layer(given: Any) -> int | str:
    """An index, or a name or pattern as in 'decoder.layers.*'."""
    return given if isinstance(given, str) and given else whole("layers_to_visualize", given)


def chosen_heads(given: Heads) -> str | tuple[int, ...]:
    if isinstance(given, str):
        name: str = choice("heads_to_visualize", given, ("average", "all"))
        return name
    indices: Iterable[Any] = given if isinstance(given, Iterable) else [given]
    return wholes("heads_to_visualize", indices, at_least=0)


def chosen_ranks(given: Any) -> str | tuple[int, ...]:
    if isinstance(given, str):
        name: str = choice("ranks", given, ("zero", "all"))
        return name
    return wholes("ranks", given if isinstance(given, Iterable) else [given], at_least=0)


def _process(ranks: str | tuple[int, ...], rank: Any) -> dict[str, Any]:
    """Which process this is, and the folder for it where several may write."""
    here = this_process(None if rank is None else whole("rank", rank, at_least=0))
    return {
        "ranks": ranks,
        "rank": here.rank,
        "world_size": here.world_size,
        "folder": "" if ranks == "zero" else here.folder,
    }


def chosen_renderer(given: Any) -> str:
    """ "own", "attach", or a socket's absolute path; the environment's choice where it has one."""
    chosen = os.environ.get("ATTNMON_RENDERER") or given
    if os.sep in str(chosen):
        return str(Path(chosen).expanduser().absolute())
    name = "renderer" if chosen is given else "ATTNMON_RENDERER"
    known: str = choice(name, chosen, ("own", "attach", "/path/of/its/socket"))
    return known


def cpus(given: Any) -> tuple[int, ...]:
    """Processors' numbers. Raises ValueError for one that this machine has not."""
    if isinstance(given, str):
        raise TypeError(f"renderer_cpus={given!r}: give a list, such as [0, 1]")
    several = given if isinstance(given, Iterable) else (given,)
    chosen = wholes("renderer_cpus", several, at_least=0)
    count = os.cpu_count() or 1
    if max(chosen) >= count:
        raise ValueError(
            f"renderer_cpus={list(chosen)}: there are only the processors 0 … {count - 1}"
        )
    return chosen


def epochs(given: Iterable[int] | int | None) -> frozenset[int]:
    several = given if isinstance(given, Iterable) else () if given is None else (given,)
    return frozenset(whole("save_on_epochs", epoch, at_least=0) for epoch in several)


def prepare(chosen: Settings) -> None:
    """What can be known only in the process that is to be watched. Makes the directory.

    Raises ValueError for ranks that are not there, OSError where nothing can be written.
    """
    ranks = chosen.ranks
    if isinstance(ranks, tuple) and min(ranks) >= chosen.world_size:
        last = chosen.world_size - 1
        raise ValueError(f"ranks={list(ranks)}: there are only the ranks 0 … {last}")
    if chosen.takes_part:
        directory(chosen.save_dir)


def directory(path: Path) -> None:
    """Make the directory if need be. Raises OSError, naming it, where nothing can be written."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise type(error)(
            error.errno,
            f"save_dir={str(path)!r} cannot be written to ({error.strerror}); "
            "choose another directory or free this one",
        ) from error
