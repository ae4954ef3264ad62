"""The largest logits of rows of cells, made of query and key: what a device's are compared with."""

import numpy as np

from attnmon_renderer.analysis.arrays import Doubles, Integers
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.pooling_grid import PoolingGrid
from attnmon_renderer.analysis.softmax_tile import SoftmaxTile


@np.errstate(all="ignore")
def top_logits(layer: LayerAttention, grid: PoolingGrid, cells: Integers) -> Doubles:
    """Return [heads, …, cells] of these rows of cells, by `LOGIT_PARTS`."""
    found = np.full((layer.shape[0], 2, len(cells)), -np.inf)
    for place, cell in enumerate(cells):
        start = cell * grid.query_step
        rows = np.arange(start, min(start + grid.query_step, grid.queries))
        for tile in layer.tiles(rows):
            counted = tile.without(layer.padding)
            if counted is not None:
                here = found[counted.heads, :, place]
                np.maximum(here, _largest(counted), out=here)
    return found


def _largest(tile: SoftmaxTile) -> Doubles:
    """Return [heads, 2] over the rows that may attend to a key."""
    logits, shares = tile.largest_logits, tile.largest_numerators * tile.factors
    assert logits is not None  # of weights there is no summary
    attends = np.broadcast_to(tile.mask.allowed_keys > 0, logits.shape)
    both = np.stack([logits - np.log(shares), logits], axis=1)
    largest: Doubles = np.where(attends[:, None], both, -np.inf).max(axis=2)
    return largest
