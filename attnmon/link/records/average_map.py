"""The mean of a layer's maps over its heads, as a device has made it."""

from dataclasses import dataclass

from attnmon.link.records.ring_blocks import LONGEST_SIDE, ArrayBlock
from attnmon.link.records.schema import require


@dataclass(frozen=True, slots=True)
class AverageTiles:
    """Some tiles of the mean over some heads."""

    heads: int
    """Over how many heads of the layer."""
    first: int
    """Number of the first tile: they are counted row by row."""
    scales: ArrayBlock
    """[tiles] The largest cell of each."""
    codes: ArrayBlock
    """[tiles, rows, keys] Its cells, as `AVERAGE_LEVELS` tells."""

    def __post_init__(self) -> None:
        require(self.heads > 0 and self.first >= 0, "tiles", (self.heads, self.first))
        found = (self.scales.dtype, self.codes.dtype)
        require(found == ("float32", "uint8"), "dtypes", found)
        shape = self.codes.shape
        require(len(shape) == 3 and 0 not in shape, "tiles", shape)
        require(self.scales.shape == shape[:1], "scales", self.scales.shape)

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        return self.scales, self.codes


@dataclass(frozen=True, slots=True)
class AverageMap:
    """The mean of a layer's maps over its heads, pooled by mass."""

    query_step: int
    """Queries in a cell; the last one may have fewer."""
    key_step: int
    tiles: tuple[AverageTiles, ...]
    """Each tile, of the mean over some heads after that over others."""

    def __post_init__(self) -> None:
        steps = (self.query_step, self.key_step)
        require(all(0 < step <= LONGEST_SIDE for step in steps), "step", steps)
        shapes = {some.codes.shape[1:] for some in self.tiles}
        require(len(shapes) == 1, "tiles", shapes)

    def require_whole(self, shape: tuple[int, int, int], is_triangle: bool) -> None:
        """Raise where not every tile of a layer (heads, queries, keys) is there for every head."""
        heads, queries, keys = shape
        rows, columns = self.tiles[0].codes.shape[1:]
        tall = -(-queries // (self.query_step * rows))
        wide = -(-keys // (self.key_step * columns))
        tiles = tall * (tall + 1) // 2 if is_triangle else tall * wide
        require(not is_triangle or tall == wide, "triangle", (tall, wide))
        found = sum(some.heads * some.codes.shape[0] for some in self.tiles)
        require(found == heads * tiles, "tiles", found)
        ends = {some.first + some.codes.shape[0] for some in self.tiles}
        require(max(ends) == tiles, "tiles", ends)
