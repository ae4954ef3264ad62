"""What a user gets: the public monitor on one model, and the files that its renderer wrote."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor
from scanlib.architecture import RING, SAMPLE, call


@dataclass(frozen=True)
class Map:
    """The weights [heads, queries, keys] of one layer, with what is said of them."""

    module: str
    role: str
    """As "encoder_self"."""
    layer: int
    weights: Tensor
    note: str


@dataclass
class Capture:
    """What was captured of a model, and what was said."""

    maps: list[Map] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons by module, from `coverage()`."""
    messages: list[str] = field(default_factory=list)
    """What was logged as a warning."""
    accounts: dict[str, Any] = field(default_factory=dict)


def captured(model: nn.Module, inputs: Any, place: str, folder: Path, renderer: Path) -> Capture:
    """Captures one sample of this batch twice: of an unknown model, and of a known one.

    place: "forward" or "probe". Returns the second capture, or the first if there is no other.
    """
    found = Capture()
    with messages_into(found.messages):
        monitor = TrainingAttentionMonitor(
            folder, 1, visualization_types=["statistics"], layers_to_visualize="all",
            heads_to_visualize="all", batch_idx_to_visualize=SAMPLE, max_workers=1,
            save_raw_weights=True, use_tensorboard=False, capture=place,  # type: ignore[arg-type]
            max_overhead=None, on_full="wait", renderer=str(renderer), close_timeout=60.0,
            ring_bytes=RING,
        )  # fmt: skip
        for step in range(2):
            if place == "forward":
                monitor.attach(model)
                call(model, inputs)
            monitor.log_attention(model, inputs, step=step)
        found.refused = {row.name: row.why for row in monitor.coverage() if not row.captured}
        found.accounts = monitor.close()
    files = [folder / f"step_{step}" / "attention_weights.safetensors" for step in range(2)]
    there = [path for path in files if path.exists()]
    found.maps = list(_maps(there[-1])) if there else []
    return found


def _maps(path: Path) -> Iterator[Map]:
    with safe_open(path, "pt") as file:
        about = file.metadata()
        for stem in file.keys():  # noqa: SIM118 - it is no mapping
            if f"{stem}.module" in about:
                stack, _, rest = stem.partition("_layer")
                number, _, kind = rest.partition("_")
                yield Map(
                    about[f"{stem}.module"], f"{stack}_{kind.removesuffix('_attn')}", int(number),
                    file.get_tensor(stem), about.get(f"{stem}.note", ""),
                )  # fmt: skip


@contextmanager
def messages_into(messages: list[str]) -> Iterator[None]:
    """Collects the warnings of the monitor."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("attnmon")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
