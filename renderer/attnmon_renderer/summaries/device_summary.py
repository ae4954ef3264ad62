"""A layer that was summed up on its device: the same statistics and maps, of what was sent."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from attnmon.link.records.layer_summary import LayerSummary, SummarisedHeads
from attnmon.link.records.sample_image import PatchedLayer
from attnmon.link.summaries.summary_parts import COLUMN_PARTS, KEY_PARTS, ROW_PARTS
from attnmon_renderer.analysis.arrays import Booleans, Doubles, Floats, Memory, read_array
from attnmon_renderer.analysis.head_statistics import HEAD_STATISTICS
from attnmon_renderer.analysis.keys.key_usage import LEAST_REST, round_numbers
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, PooledMap
from attnmon_renderer.analysis.layer_attention import LayerAttention, have_one_length
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.summaries.average_reader import read_average

_EXTREMES = {"row_sum_error": np.max, "min": np.min, "max": np.max}


class DeviceSummary:
    """What a device has made of a layer.

    Raises:
        ValueError: the layer was not summed up, or the memory ends before its arrays do.
    """

    def __init__(self, layer: LayerAttention, memory: Memory) -> None:
        if layer.attention.summary is None:
            raise ValueError(f"{layer.attention.name} was not summed up on a device")
        self.layer = layer
        self.record: LayerSummary = layer.attention.summary
        self._memory = memory

    def analysis(self, average_side: int | None, head_side: int | None) -> LayerAnalysis:
        """Return statistics and maps, as `analyze_layer` does of query and key."""
        return LayerAnalysis(
            self.statistics(),
            None if average_side is None else self.average(average_side),
            None if head_side is None else self._heads(head_side),
        )

    # Maps

    @cached_property
    def _signed(self) -> npt.NDArray[np.float16]:
        sent, (rows, columns) = self._joined("cells"), self.grid.shape
        if not self.record.is_triangle:
            return sent.reshape(len(sent), rows, columns)
        whole = np.full((len(sent), rows, columns), -0.0, np.float16)
        whole[:, *np.tril_indices(rows)] = sent
        return whole

    @property
    def cells(self) -> Floats:
        """[heads, query cells, key cells] The map of each head."""
        return np.abs(self._signed.astype(np.float32))

    @property
    def masked(self) -> Booleans:
        """[query cells, key cells] True where no query of any head may attend, and of padding."""
        return np.asarray(np.signbit(self._signed).all(axis=0))

    @property
    def strongest(self) -> npt.NDArray[np.int32]:
        """[heads, query cells] The key with the largest weight in each row of cells."""
        return self._joined("strongest")

    @cached_property
    def logits(self) -> Doubles:
        """[heads, …, query cells] What its logits are at most, by `LOGIT_PARTS`."""
        return self._joined("logits").astype(np.float64)

    @property
    def grid(self) -> PoolingGrid:
        """The cells of its map."""
        _, queries, keys = self.record.shape
        return PoolingGrid(queries, keys, self.record.query_step, self.record.key_step)

    def average(self, side: int) -> PooledMap:
        """Return the mean over heads. Raises ValueError where it was not sent of that side."""
        sent, (_, queries, keys) = self.record.average, self.record.shape
        grid = PoolingGrid.of_side(queries, keys, side)
        if sent is None or (sent.query_step, sent.key_step) != (grid.query_step, grid.key_step):
            raise ValueError(f"no mean over heads of {grid.shape} cells was sent")
        values, masked = read_average(self.record, grid, self._memory)
        if self.layer.padding is not None:
            starts = np.arange(0, queries, grid.query_step)
            masked |= np.logical_and.reduceat(self.layer.padding, starts)[:, None]
        return PooledMap(values, masked, grid.query_step, grid.key_step, "mass")

    @property
    def window(self) -> Floats:
        """[heads, queries, keys] The weights of the first queries; none where none were asked."""
        found: Floats = self._joined("window")
        return found

    def patch_rows(self, patches: PatchedLayer) -> Floats | None:
        """Return [heads, keys] what a layer looks at in its image, as the module `patch_rows` does.

        None where it was not sent: what more tokens than a window has give, which are no patches.
        """
        window, count = self.window, self.record.shape[1] - patches.earlier
        if (patches.has_class or self.record.shape[1] == 1) and window.shape[1]:
            return window[:, 0]
        if patches.earlier > window.shape[1] or not window.size:
            return None
        received = np.abs(self._joined("received").astype(np.float64))
        others = window[:, : patches.earlier].sum(axis=1, dtype=np.float64)
        mean: Floats = ((received - others) / count).astype(np.float32)
        return mean

    def _heads(self, side: int) -> PooledMap:
        grid, wanted = self.grid, PoolingGrid.of_side(*self.record.shape[1:], side)
        if grid != wanted or not self.record.has_map:
            raise ValueError(f"maps of {grid.shape} cells were sent, not of {wanted.shape}")
        return PooledMap(self.cells, self.masked, grid.query_step, grid.key_step, "mass")

    # Statistics

    @np.errstate(all="ignore")
    def statistics(self) -> LayerStatistics:
        """Return the statistics of all queries that count."""
        parts, keys = self._parts, self.record.shape[2]
        entries = parts["counted"].sum() * keys
        is_nan = np.isnan(parts["mass"])
        ahead, sees_all = self.layer.reach
        attention = self.layer.attention
        return LayerStatistics(
            mean=float(parts["mass"].sum() / entries),
            std=self._std(entries),
            min=_extreme(parts["min"].min(), bool(is_nan.any()), entries),
            max=_extreme(parts["max"].max(), bool(is_nan.any()), entries),
            heads={name: values.tolist() for name, values in self._numbers().items()},
            row_sum_error=float(parts["row_sum_error"].max()),
            non_finite=int(parts["non_finite"].sum()),
            queries_used=None,
            future_mass=self._future(entries),
            ahead=ahead,
            sees_all=sees_all,
            scale=attention.scale,
            width=self.record.width,
            normed=all(
                bool(have_one_length(self._joined(name)).all())
                for name in ("query_lengths", "key_lengths")
            ),
            softcap=attention.softcap,
        )

    @cached_property
    def _parts(self) -> Mapping[str, Doubles]:
        """[heads] Each sum over all programs, by the name of the part."""
        found: dict[str, Doubles] = {}
        for array, names in (("rows", ROW_PARTS), ("columns", COLUMN_PARTS)):
            values = self._joined(array).astype(np.float64)
            for index, name in enumerate(names):
                found[name] = _EXTREMES.get(name, np.sum)(values[:, :, index], axis=1)
        by_key = self._joined("keys").astype(np.float64)
        return found | {name: by_key[:, index] for index, name in enumerate(KEY_PARTS)}

    @property
    def _squares(self) -> Doubles:
        """[heads] The sum of the squared differences to 1 / keys; of a weight of 0 elsewhere."""
        parts, keys = self._parts, self.record.shape[2]
        return np.asarray(parts["squares"] + (parts["counted"] * keys - parts["visited"]) / keys**2)

    def _std(self, entries: float) -> float:
        keys = self.record.shape[2]
        shift = self._parts["mass"].sum() / entries - 1 / keys
        return math.sqrt(max(self._squares.sum() / entries - shift**2, 0)) if entries else math.nan

    def _future(self, entries: float) -> float | None:
        if not self.layer.is_own_future:
            return None
        future = 0.0 if self.layer.attention.causal else self._parts["future"].sum()
        return float(future * self.record.shape[2] / entries)

    def _numbers(self) -> dict[str, Doubles]:
        """Return each head's numbers by name."""
        parts = self._parts
        rows = {1: parts["attending"], 2: parts["comparing"]}
        found = {
            name: parts[name] / rows[statistic.least_keys]
            for name, statistic in HEAD_STATISTICS.items()
        }
        largest = self.logits[:, 1].max(axis=1)
        unknown = np.isneginf(largest) | (np.isnan(parts["mass"]) & ~np.isinf(largest))
        found["max_logit"] = np.where(unknown, np.nan, largest)
        found |= round_numbers(self._of_keys())
        if self.layer.declared.keys is not None and self.record.knows_padding:
            found["padding_mass"] = parts["padding"] / parts["real_rows"]
        return found

    def _of_keys(self) -> dict[str, Any]:
        parts, keys = self._parts, self.record.shape[2]
        rows, total = parts["attending"], parts["total"]
        norms = self._squares + (2 * total - parts["counted"]) / keys
        rest = np.maximum(norms - parts["squared"] / rows, 0)
        is_told = parts["others"] >= LEAST_REST * rows
        return {
            "coverage": np.where(is_told, parts["shares"] / parts["seen"], np.nan),
            "largest_key": parts["largest"] / rows,
            "row_residual": np.sqrt(rest / norms),
        }

    def _joined(self, name: str) -> npt.NDArray[Any]:
        """Return an array of all groups of heads."""
        groups = [self._read(some, name) for some in self.record.heads]
        return groups[0] if len(groups) == 1 else np.concatenate(groups)

    def _read(self, some: SummarisedHeads, name: str) -> npt.NDArray[Any]:
        return read_array(getattr(some, name), self._memory)


def _extreme(value: float, is_nan: bool, entries: float) -> float:
    return math.nan if is_nan or not entries else float(value)
