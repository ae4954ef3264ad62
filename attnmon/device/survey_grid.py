"""How a layer is divided: the cells of its maps, the tiles of the kernels, and their bytes."""

from dataclasses import dataclass

from attnmon.device.cell_grid import (
    AverageGrid,
    CellGrid,
    cells_along,
    is_triangle,
    power_of_2,
    tile_of,
    triangle,
)
from attnmon.device.layer_tensors import KernelKind, LayerTensors, divisor
from attnmon.link.summaries.summary_parts import (
    COLUMN_PARTS,
    KEY_PARTS,
    LOGIT_PARTS,
    ROW_PARTS,
)

STORE_SIDE = 128
"""Cells a side where no picture and no store asks for more."""
MOST_PROGRAMS = 1024
"""Of the first kernel, over all heads: each leaves a few numbers."""
MOST_LENGTHS = 64
"""Positions of which the lengths of queries and keys are taken."""
MOST_CHUNKS = 64
WINDOW = 8
"""Queries whose weights are sent as they are, where single ones are asked for: the first ones."""
_FLOAT, _HALF = 4, 2


def length_step(positions: int) -> int:
    """Return from how many positions one is taken to measure the length of its vector."""
    return max(1, -(-positions // MOST_LENGTHS))


@dataclass(frozen=True, slots=True)
class SurveyGrid(CellGrid):
    """The cells of each head's map, and the tiles of a layer of this shape."""

    heads: int
    has_cells: bool
    """Whether the maps of heads leave the device, and not their statistics alone."""
    average: AverageGrid | None
    """The map of the mean over heads; None where none is asked for."""
    window: int
    """First queries whose weights are sent as they are, and with them what all keys receive."""

    @classmethod
    def of(
        cls,
        layer: LayerTensors,
        side: int | None,
        average: int | None = None,
        *,
        window: bool = False,
    ) -> "SurveyGrid":
        """Return the finest grid with at most `side` cells a side, and `average` of the mean's.

        None: there is no such map.
        """
        heads, queries, keys = layer.shape
        rows, columns = (max(1, cells_along(size, side or STORE_SIDE)) for size in (queries, keys))
        if side is None:  # then cells may be as suits the tiles
            rows, columns = power_of_2(rows), power_of_2(columns)
        return cls(
            queries, keys, rows, columns, tile_of(layer), is_triangle(layer), heads,
            has_cells=side is not None,
            average=None if average is None else AverageGrid.of(layer, average),
            window=min(WINDOW, queries) if window else 0,
        )  # fmt: skip

    @property
    def cells(self) -> int:
        """Cells a head that leave the device."""
        if not self.has_cells:
            return 0
        return triangle(self.query_cells) if self.is_triangle else self.query_cells * self.key_cells

    @property
    def chunks(self) -> int:
        """Tiles that a cell needs along the keys, as a power of 2."""
        return power_of_2(cells_along(self.key_step, self.cell_keys))

    @property
    def row_programs(self) -> int:
        """Programs a head of the first kernel."""
        tiles = cells_along(self.query_cells, self.tile // self.cell_rows)
        return min(tiles, max(1, MOST_PROGRAMS // self.heads))

    @property
    def column_programs(self) -> int:
        """Programs a head of the second kernel."""
        return cells_along(self.key_cells, self.tile // self.cell_keys)

    @property
    def lse_bytes(self) -> int:
        """Bytes a head of the log-sum-exp of its queries, which all kernels but the first read."""
        return _FLOAT * self.queries

    @property
    def received_bytes(self) -> int:
        """Bytes a head of what the second kernel leaves for the third; it may be sent as well."""
        return _FLOAT * self.keys

    @property
    def bytes_sent(self) -> int:
        """Bytes a head of what leaves the device, but for the mean, and for what keys receive."""
        strongest = self.query_cells if self.has_cells else 0
        lengths = sum(cells_along(each, length_step(each)) for each in (self.queries, self.keys))
        numbers = self.row_programs * len(ROW_PARTS) + self.column_programs * len(COLUMN_PARTS)
        numbers += len(KEY_PARTS) + self.query_cells * len(LOGIT_PARTS)
        numbers += self.window * self.keys
        return _FLOAT * (numbers + lengths + strongest) + _HALF * self.cells

    def kind(self, layer: LayerTensors) -> KernelKind:
        """Return what chooses the kernels' code for a layer of this shape."""
        both, average = (layer.query, layer.key), self.average
        places = [place for each in both for place in (each.data_ptr(), *each.stride())]
        places += [layer.bias_strides[2], layer.shape[0] // len(layer.key)]
        return KernelKind(
            dtypes=(layer.query.dtype, layer.key.dtype),
            width=layer.query.shape[2],
            bias=None if layer.bias is None else layer.bias.dtype,
            causal=layer.causal,
            softcap=bool(layer.softcap),
            sinks=None if layer.sinks is None else layer.sinks.dtype,
            padding=layer.padding is not None,
            ends=layer.ends is not None,
            declared=layer.declared is not None,
            scaled=layer.is_scaled,
            triangle=self.is_triangle,
            cells=self.has_cells,
            cell_rows=self.cell_rows,
            cell_keys=self.cell_keys,
            chunks=self.chunks,
            average=None if average is None else (average.cell_rows, average.cell_keys),
            window=self.window > 0,
            places=tuple(map(divisor, places)),
        )
