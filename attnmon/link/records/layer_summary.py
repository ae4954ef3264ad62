"""What a device has made of a layer, in place of its queries and keys."""

from dataclasses import dataclass

from attnmon.link.records.average_map import AverageMap
from attnmon.link.records.ring_blocks import LONGEST_SIDE, ArrayBlock
from attnmon.link.records.schema import require
from attnmon.link.summaries.summary_parts import COLUMN_PARTS, KEY_PARTS, LOGIT_PARTS, ROW_PARTS


@dataclass(frozen=True, slots=True)
class SummarisedHeads:
    """What a device has made of some heads of a layer, side by side in the ring."""

    rows: ArrayBlock
    """[heads, programs, …], by `ROW_PARTS`"""
    columns: ArrayBlock
    """[heads, programs, …], by `COLUMN_PARTS`"""
    keys: ArrayBlock
    """[heads, …], by `KEY_PARTS`"""
    logits: ArrayBlock
    """[heads, …, query cells], by `LOGIT_PARTS`; also without a map."""
    query_lengths: ArrayBlock
    """[heads, …] Lengths of some query vectors."""
    key_lengths: ArrayBlock
    """[key heads, …] Of some key vectors."""
    strongest: ArrayBlock
    """[heads, query cells] The key with the largest weight; [heads, 0] without a map."""
    cells: ArrayBlock
    """[heads, cells] The map, pooled by mass, row by row; the sign of a cell is set where no query
    that counts may attend to any of its keys. [heads, 0] without a map."""
    received: ArrayBlock
    """[heads, keys] What each key receives of all queries; the sign is set where no query that
    counts may attend to it. [heads, 0] without a window."""
    window: ArrayBlock
    """[heads, queries, keys] Weights of the first queries; [heads, 0, 0] where none are wanted."""

    def __post_init__(self) -> None:
        parts = (len(ROW_PARTS), len(COLUMN_PARTS), len(KEY_PARTS))
        for block, dimensions in zip(self.blocks, (3, 3, 2, 3, 2, 2, 2, 2, 2, 3), strict=True):
            require(len(block.shape) == dimensions, "shape", block.shape)
        found = tuple(block.shape[-1] for block in self.blocks[:3])
        require(found == parts, "parts", found)
        require(self.logits.shape[1] == len(LOGIT_PARTS), "parts", self.logits.shape)
        heads = {block.shape[0] for block in self.blocks if block is not self.key_lengths}
        require(len(heads) == 1, "heads", heads)
        dtypes = tuple(block.dtype for block in self.blocks)
        require(
            dtypes == (*["float32"] * 6, "int32", "float16", *["float32"] * 2), "dtypes", dtypes
        )

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All its arrays, in the order in which they lie."""
        return (
            self.rows, self.columns, self.keys, self.logits, self.query_lengths,
            self.key_lengths, self.strongest, self.cells, self.received, self.window,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """What a device has made of a layer: its statistics, and a map where one is wanted."""

    shape: tuple[int, int, int]
    """(heads, queries, keys)"""
    width: int
    """Of a query."""
    query_step: int
    key_step: int
    """Positions in a cell of the map."""
    kernel: str
    """By which name the renderer answers for the kernel that made it."""
    heads: tuple[SummarisedHeads, ...]
    """One group of heads after the other."""
    knows_padding: bool = False
    """Whether what real queries give to declared padding was summed up."""
    ends: ArrayBlock | None = None
    """int32 [2, queries] The first and the last key that a query may attend to, where the mask
    differs from query to query and is not sent: the number of keys, and −1, where there is none."""
    padding: ArrayBlock | None = None
    """bool [queries] True for those that are padding; beside `ends`."""
    is_triangle: bool = False
    """Whether maps are square, and what is above their diagonal was left out: it is masked."""
    average: AverageMap | None = None
    """The mean over heads, where a picture of it is wanted."""

    def __post_init__(self) -> None:
        heads, queries, keys = self.shape
        require(all(0 < n <= LONGEST_SIDE for n in self.shape), "shape", self.shape)
        steps = (self.query_step, self.key_step)
        require(all(0 < step <= LONGEST_SIDE for step in steps), "step", steps)
        require(self.width >= 0, "width", self.width)
        require(sum(some.rows.shape[0] for some in self.heads) == heads, "heads", heads)
        cells = (-(-queries // self.query_step), -(-keys // self.key_step))
        of_mask = ((self.ends, "int32", (2, queries)), (self.padding, "bool", (queries,)))
        for block, dtype, shape in of_mask:
            require(block is None or (block.dtype, block.shape) == (dtype, shape), "mask", block)
        require((self.ends is None) == (self.padding is None), "mask", self.padding)
        require(not self.is_triangle or cells[0] == cells[1], "triangle", cells)
        sent = cells[0] * (cells[0] + 1) // 2 if self.is_triangle else cells[0] * cells[1]
        found = {(some.strongest.shape[1], some.cells.shape[1]) for some in self.heads}
        require(found in ({(cells[0], sent)}, {(0, 0)}), "cells", found)
        windows = {(some.received.shape[1:], some.window.shape[1:]) for some in self.heads}
        count = self.heads[0].window.shape[1]
        require(windows in ({((keys,), (count, keys))}, {((0,), (0, 0))}), "window", windows)
        require(count <= queries, "window", count)
        rows = {some.logits.shape[2] for some in self.heads}
        require(rows == {cells[0]}, "rows of cells", rows)
        if self.average is not None:
            self.average.require_whole(self.shape, self.is_triangle)

    @property
    def blocks(self) -> tuple[ArrayBlock, ...]:
        """All its arrays."""
        mask = (self.ends, self.padding)
        tiles = () if self.average is None else self.average.tiles
        of_heads = (block for some in self.heads for block in some.blocks)
        of_mean = (block for some in tiles for block in some.blocks)
        return (*of_heads, *of_mean, *(block for block in mask if block is not None))

    @property
    def has_map(self) -> bool:
        return self.heads[0].cells.shape[1] > 0
