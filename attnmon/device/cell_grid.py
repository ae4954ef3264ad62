"""How a map is divided: its cells, and the tiles of the kernel that makes it."""

from dataclasses import dataclass

from attnmon.device.layer_tensors import LayerTensors

WIDE_TILE, TILE, NARROW_TILE = 64, 32, 16
"""Positions a side of a tile. In a larger one registers spill, which ptxas tells without a device:
so the wide one is for what is cheapest, 16-bit numbers without a mask. What is spilled is memory of
the device, for each thread that it could run: 5 kB of float32 in wide heads would be a gigabyte."""
WIDE_HEAD = 128
_FLOAT, _HALF = 4, 2


def power_of_2(number: int) -> int:
    """Return the smallest power of 2 that is not less."""
    return 1 << max(number - 1, 0).bit_length()


def cells_along(positions: int, step: int) -> int:
    """Return how many cells of so many positions cover an axis."""
    return -(-positions // step)


def triangle(side: int) -> int:
    """Return how many cells of a square are not above its diagonal."""
    return side * (side + 1) // 2


@dataclass(frozen=True, slots=True)
class CellGrid:
    """The cells of a map, and the tiles of the kernel that makes it."""

    queries: int
    keys: int
    query_step: int
    """Queries in a cell; the last one may have fewer."""
    key_step: int
    tile: int
    is_triangle: bool
    """Whether only what is not above the diagonal is sent: of a causal map of as many queries as
    keys."""

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


@dataclass(frozen=True, slots=True)
class AverageGrid(CellGrid):
    """The map of the mean over heads: it is sent tile by tile, a byte a cell."""

    @classmethod
    def of(cls, layer: LayerTensors, side: int) -> "AverageGrid":
        """Return the finest grid with at most `side` cells a side."""
        _, queries, keys = layer.shape
        rows, columns = (max(1, cells_along(size, side)) for size in (queries, keys))
        return cls(queries, keys, rows, columns, tile_of(layer), is_triangle(layer))

    @property
    def tile_rows(self) -> int:
        """Rows of cells in a tile."""
        return self.tile // self.cell_rows

    @property
    def tile_keys(self) -> int:
        return self.tile // self.cell_keys

    @property
    def key_tiles(self) -> int:
        return cells_along(self.key_cells, self.tile_keys)

    @property
    def tiles(self) -> int:
        """Tiles that are sent."""
        rows = cells_along(self.query_cells, self.tile_rows)
        return triangle(rows) if self.is_triangle else rows * self.key_tiles

    @property
    def tile_bytes(self) -> int:
        return _FLOAT + self.tile_rows * self.tile_keys


def is_triangle(layer: LayerTensors) -> bool:
    """Return whether a layer's map is square, and causal."""
    _, queries, keys = layer.shape
    return layer.causal and queries == keys


def tile_of(layer: LayerTensors) -> int:
    """Return how many positions a side a tile has."""
    is_half = layer.query.itemsize == layer.key.itemsize == _HALF
    if layer.query.shape[2] > WIDE_HEAD:
        return TILE if is_half else NARROW_TILE
    return WIDE_TILE if is_half and layer.bias is None else TILE
