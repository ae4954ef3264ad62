"""How a layer is divided: the cells of its map, the tiles of the kernels, and their bytes."""

from dataclasses import dataclass

from attnmon.device.layer_tensors import KernelKind, LayerTensors, divisor
from attnmon.link.summaries.summary_parts import (
    COLUMN_PARTS,
    KEY_PARTS,
    LOGIT_PARTS,
    ROW_PARTS,
)

STORE_SIDE = 128
"""Cells a side where no picture and no store asks for more."""
WIDE_TILE, TILE, NARROW_TILE = 64, 32, 16
"""Positions a side of a tile. In a larger one registers spill, which ptxas tells without a device:
so the wide one is for what is cheapest, 16-bit numbers without a mask. What is spilled is memory of
the device, for each thread that it could run: 5 kB of float32 in wide heads would be a gigabyte."""
WIDE_HEAD = 128
MOST_PROGRAMS = 1024
"""Of the first kernel, over all heads: each leaves a few numbers."""
MOST_LENGTHS = 64
"""Positions of which the lengths of queries and keys are taken."""
MOST_CHUNKS = 64
_FLOAT, _HALF = 4, 2


def power_of_2(number: int) -> int:
    """Return the smallest power of 2 that is not less."""
    return 1 << max(number - 1, 0).bit_length()


def cells_along(positions: int, step: int) -> int:
    """Return how many cells of so many positions cover an axis."""
    return -(-positions // step)


def length_step(positions: int) -> int:
    """Return from how many positions one is taken to measure the length of its vector."""
    return max(1, -(-positions // MOST_LENGTHS))


@dataclass(frozen=True, slots=True)
class SurveyGrid:
    """The cells and the tiles of a layer of this shape."""

    heads: int
    queries: int
    keys: int
    query_step: int
    """Queries in a cell; the last one may have fewer."""
    key_step: int
    has_cells: bool
    """Whether the map leaves the device, and not its statistics alone."""
    tile: int

    @classmethod
    def of(cls, layer: LayerTensors, side: int | None) -> "SurveyGrid":
        """Return the finest grid with at most `side` cells a side; None: there is no map."""
        heads, queries, keys = layer.shape
        rows, columns = (max(1, -(-size // (side or STORE_SIDE))) for size in (queries, keys))
        if side is None:  # then cells may be as suits the tiles
            rows, columns = power_of_2(rows), power_of_2(columns)
        return cls(heads, queries, keys, rows, columns, side is not None, _tile(layer))

    @property
    def query_cells(self) -> int:
        return cells_along(self.queries, self.query_step)

    @property
    def key_cells(self) -> int:
        return cells_along(self.keys, self.key_step)

    @property
    def cell_rows(self) -> int:
        """A cell's queries in a tile, a power of 2."""
        return min(power_of_2(self.query_step), self.tile)

    @property
    def cell_keys(self) -> int:
        return min(power_of_2(self.key_step), self.tile)

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
    def bytes_kept(self) -> int:
        """Bytes a head of what a kernel leaves for the next."""
        return _FLOAT * (self.queries + self.keys)

    @property
    def bytes_sent(self) -> int:
        """Bytes a head of what leaves the device."""
        strongest = self.query_cells if self.has_cells else 0
        cells = self.key_cells * strongest
        lengths = sum(cells_along(each, length_step(each)) for each in (self.queries, self.keys))
        numbers = self.row_programs * len(ROW_PARTS) + self.column_programs * len(COLUMN_PARTS)
        numbers += len(KEY_PARTS) + self.query_cells * len(LOGIT_PARTS)
        return _FLOAT * (numbers + lengths + strongest) + _HALF * cells

    def kind(self, layer: LayerTensors) -> KernelKind:
        """Return what chooses the kernels' code for a layer of this shape."""
        both = layer.query, layer.key
        places = [place for each in both for place in (each.data_ptr(), *each.stride())]
        places.append(layer.bias_strides[2])
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
            cells=self.has_cells,
            cell_rows=self.cell_rows,
            cell_keys=self.cell_keys,
            chunks=self.chunks,
            places=tuple(map(divisor, places)),
        )


def _tile(layer: LayerTensors) -> int:
    is_half = layer.query.itemsize == layer.key.itemsize == _HALF
    if layer.query.shape[2] > WIDE_HEAD:
        return TILE if is_half else NARROW_TILE
    return WIDE_TILE if is_half and layer.bias is None else TILE
