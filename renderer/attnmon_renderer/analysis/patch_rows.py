"""What the patches of an image get of a vision model's attention."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon_renderer.analysis.arrays import Doubles, Floats
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis
from attnmon_renderer.analysis.layer_attention import LayerAttention


def with_patch_rows(
    analyses: Mapping[Attention, LayerAnalysis],
    layers: Mapping[Attention, LayerAttention],
    image: SampleImage | None,
) -> dict[Attention, LayerAnalysis]:
    """Return the analyses, with the rows of the image's patches where layers see some."""
    completed = dict(analyses)
    for attention, found in analyses.items():
        patches = None if image is None else image.patches_of(attention)
        if patches is not None and not attention.is_summarised:
            rows = patch_rows(layers[attention], patches)
            completed[attention] = replace(found, patch_rows=rows)
    return completed


def patch_rows(layer: LayerAttention, patches: PatchedLayer) -> Floats:
    """Return [heads, keys] the attention that says what a layer looks at in its image.

    That is the row of the class token, or of the only query; of a model that has none the mean over
    all patches, as it pools them.
    """
    heads, queries, keys = layer.shape
    chosen = _queries(patches, queries)
    total: Doubles = np.zeros((heads, keys))
    for tile in layer.tiles(np.arange(queries)[chosen]):
        total[tile.heads] += tile.weights(keys).sum(axis=1, dtype=np.float64)
    return (total / len(range(queries)[chosen])).astype(np.float32)


def patch_row(weights: Floats, patches: PatchedLayer) -> Floats:
    """Return the same of one map [queries, keys]: [keys]."""
    mean: Floats = weights[_queries(patches, len(weights))].mean(axis=0, dtype=np.float64)
    return mean.astype(np.float32)


def _queries(patches: PatchedLayer, queries: int) -> slice:
    if patches.has_class or queries == 1:
        return slice(0, 1)
    return slice(patches.earlier, patches.earlier + patches.rows * patches.columns)
