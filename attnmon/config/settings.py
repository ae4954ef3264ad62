"""What the user may choose, checked where it is chosen.

Every mistake that can be known at construction raises `ValueError` or `TypeError` here, before
training starts; what only shows in training is warned about and counted there.
"""

import difflib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from attnmon.config.distributed import find_process_rank
from attnmon.config.sizes import size
from attnmon.config.validation import (
    chosen_heads,
    chosen_layers,
    chosen_ranks,
    chosen_renderer,
    cpus,
    epochs,
    known_kinds,
)
from attnmon.config.values import choice, share, whole
from attnmon.link.ring import SLOT_BYTES
from attnmon.options import MOST_KEPT, ROLES, Heads, Layers, Options


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A monitor's settings in their checked form; see `docs/guide.md` for each of them."""

    save_dir: Path
    """Absolute; not made yet."""
    save_frequency: int
    save_on_epochs: frozenset[int]
    pictures: tuple[str, ...]
    statistics_files: bool
    layers_to_visualize: tuple[int | str, ...] | None
    """Indices, negative from the end, or patterns of module names; None is all."""
    heads_to_visualize: str | tuple[int, ...]
    max_workers: int
    batch_idx_to_visualize: int
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
    def rank_is_selected(self) -> bool:
        """Whether this process is one of those that are watched."""
        if isinstance(self.ranks, tuple):
            return self.rank in self.ranks
        return self.ranks == "all" or self.rank == 0

    @property
    def head_indices(self) -> tuple[int, ...] | None:
        """The heads to take; None is all of them."""
        return self.heads_to_visualize if isinstance(self.heads_to_visualize, tuple) else None


def checked_settings(
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
    place = _absolute_path(save_dir)
    _refuse_unknown(options)
    kinds = known_kinds(visualization_types)
    checked: dict[str, Any] = {
        "save_frequency": whole("save_frequency", save_frequency, at_least=1),
        "save_on_epochs": epochs(save_on_epochs),
        "pictures": tuple(kind for kind in kinds if kind != "statistics"),
        "statistics_files": "statistics" in kinds,
        "layers_to_visualize": chosen_layers(layers_to_visualize),
        "heads_to_visualize": chosen_heads(heads_to_visualize),
        "max_workers": whole("max_workers", max_workers, at_least=1),
        "batch_idx_to_visualize": whole(
            "batch_idx_to_visualize", batch_idx_to_visualize, at_least=0
        ),
        "save_raw_weights": bool(save_raw_weights),
        "use_tensorboard": bool(use_tensorboard),
        **_checked_options(**options),
    }
    return Settings(save_dir=place / checked.pop("folder"), **checked)


def _absolute_path(save_dir: Any) -> Path:
    """Absolute, since a script may change its own directory."""
    try:
        return Path(save_dir).expanduser().absolute()
    except TypeError:
        raise TypeError(f"save_dir={save_dir!r:.80}: give a path, as text or a Path") from None


def _refuse_unknown(options: Mapping[str, object]) -> None:
    """Raise TypeError for a keyword that no monitor knows, with the nearest that one does."""
    for name in options:
        if name not in Options.__annotations__:
            known = (*_NAMES, *Options.__annotations__)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            if name in _NAMES:
                hint = " TrainingAttentionMonitor has it."
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


def _process(ranks: str | tuple[int, ...], rank: Any) -> dict[str, Any]:
    """Which process this is, and the folder for it where several may write."""
    here = find_process_rank(None if rank is None else whole("rank", rank, at_least=0))
    return {
        "ranks": ranks,
        "rank": here.rank,
        "world_size": here.world_size,
        "folder": "" if ranks == "zero" else here.folder,
    }


def prepare_run(chosen: Settings) -> None:
    """What can be known only in the process that is to be watched. Makes the directory.

    Raises ValueError for ranks that are not there, OSError where nothing can be written.
    """
    ranks = chosen.ranks
    if isinstance(ranks, tuple) and min(ranks) >= chosen.world_size:
        last = chosen.world_size - 1
        raise ValueError(f"ranks={list(ranks)}: there are only the ranks 0 … {last}")
    if chosen.rank_is_selected:
        make_writable_directory(chosen.save_dir)


def make_writable_directory(path: Path) -> None:
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
