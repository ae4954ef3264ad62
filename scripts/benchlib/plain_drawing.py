"""A model's attention weights and figures of them, as written by hand with hooks and matplotlib."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

Weights = dict[str, npt.NDArray[np.float32]]
"""Module's name → [heads, queries, keys]."""


@dataclass(frozen=True)
class Configuration:
    """What a monitoring draws, and how often."""

    name: str
    every: int
    """Steps between two captures."""
    kinds: tuple[str, ...] = ()
    """Kinds of figures; empty means the lightweight monitor."""

    @property
    def everything(self) -> bool:
        """Whether all layers are drawn, not only the first and the last."""
        return len(self.kinds) > 2


EVERYTHING = ("heatmap", "multi_head", "layer_comparison", "statistics")
CONFIGURATIONS = (
    Configuration("lightweight_every_50", 50),
    Configuration("lightweight_every_10", 10),
    Configuration("statistics_every_100", 100, ("statistics",)),
    Configuration("heatmaps_every_100", 100, ("heatmap", "statistics")),
    Configuration("everything_every_50", 50, EVERYTHING),
    Configuration("lightweight_every_1", 1),
)


def model_weights(model: nn.Module, enc: Tensor, dec: Tensor) -> Weights:
    """Return the attention weights of the first sample, as the attention modules return them."""
    found: Weights = {}
    with torch.no_grad(), requesting_weights(model, found):
        model.eval()
        model(enc[:1], dec[:1])
        model.train()
    return found


@contextmanager
def requesting_weights(model: nn.Module, found: Weights) -> Iterator[None]:
    """Make the attention modules return their weights, and store them in `found`."""

    def request(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, kwargs | {"need_weights": True, "average_attn_weights": False}

    def storing(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
            found[name.replace(".", "_")] = output[1][0].numpy()

        return hook

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_pre_hook(request, with_kwargs=True))
            handles.append(module.register_forward_hook(storing(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def figures(configuration: Configuration, weights: Weights) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) for each requested kind."""
    kinds = configuration.kinds
    for name, values in weights.items():
        if not configuration.everything and name not in _first_and_last(weights):
            continue
        if "heatmap" in kinds:
            yield name, draw_maps({name: values.mean(axis=0)})
        if "multi_head" in kinds:
            heads = {f"head {head}": map_ for head, map_ in enumerate(values)}
            yield f"{name}_heads", draw_maps(heads)
    if "layer_comparison" in kinds:
        for kind, names in _by_kind(weights).items():
            yield f"{kind}_layers", draw_maps({name: weights[name].mean(axis=0) for name in names})


def draw_maps(maps: dict[str, npt.NDArray[np.float32]]) -> Figure:
    """Draw maps side by side, each with its own colour bar."""
    columns = min(4, len(maps))
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(8, 6) if len(maps) == 1 else (4 * columns, 4 * rows))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax, (title, values) in zip(axes.flat, maps.items(), strict=False):
        image = ax.imshow(values, cmap="viridis")
        ax.set_title(title)
        ax.set_xlabel("key position")
        ax.set_ylabel("query position")
        figure.colorbar(image, ax=ax)
    return figure


def _by_kind(weights: Weights) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name in weights:
        stack, _, attention = name.removeprefix("transformer_").partition("_layers_")
        kinds.setdefault(f"{stack}_{attention.lstrip('0123456789_')}", []).append(name)
    return kinds


def _first_and_last(weights: Weights) -> set[str]:
    return {name for names in _by_kind(weights).values() for name in (names[0], names[-1])}
