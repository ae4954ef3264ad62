"""What patches get of a layer's attention, against float64 and by hand."""

from dataclasses import replace

import numpy as np
import pytest

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.patch_rows import patch_row, patch_rows, with_patch_rows

HEADS, KEYS, WIDTH = 3, 1400, 8
PATCHES = PatchedLayer("encoder", 0, "self_attention", 37, 37, earlier=31, has_class=True)


@pytest.fixture
def layer() -> LayerAttention:
    """A layer too long for a map that is not pooled."""
    random = np.random.default_rng(0)
    both = random.normal(size=(2, HEADS, KEYS, WIDTH)).astype(np.float32)
    blocks = [ArrayBlock(i * both[0].nbytes, "float32", both.shape[1:]) for i in range(2)]
    attention = Attention(
        "blocks.0", "encoder", 0, "self_attention", "sdpa", tuple(range(HEADS)),
        query=blocks[0], key=blocks[1], scale=0.5,
    )  # fmt: skip
    return LayerAttention(attention, both.tobytes())


def reference(layer: LayerAttention) -> np.ndarray:
    logits = 0.5 * layer._query.astype(np.float64) @ layer._key.astype(np.float64).mT
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def test_it_is_the_class_token_s_row_exactly_however_long_the_sequence(
    layer: LayerAttention,
) -> None:
    rows = patch_rows(layer, PATCHES)
    np.testing.assert_allclose(rows, reference(layer)[:, 0], rtol=2e-5)


def test_without_a_class_token_it_is_the_mean_over_the_patches_alone(
    layer: LayerAttention,
) -> None:
    rows = patch_rows(layer, replace(PATCHES, has_class=False))
    expected = reference(layer)[:, 31 : 31 + 37 * 37].mean(axis=1)
    np.testing.assert_allclose(rows, expected, rtol=2e-5)


def test_the_same_of_a_single_map(layer: LayerAttention) -> None:
    weights = reference(layer)[1].astype(np.float32)
    np.testing.assert_array_equal(patch_row(weights, PATCHES), weights[0])
    mean = patch_row(weights, replace(PATCHES, has_class=False))
    np.testing.assert_allclose(mean, weights[31:].mean(axis=0), rtol=1e-5)


def test_only_layers_that_see_the_image_get_rows(layer: LayerAttention) -> None:
    other = replace(layer.attention, layer=1)
    layers = {layer.attention: layer, other: layer}
    analyses = {attention: analyze_layer(layer) for attention in layers}
    image = SampleImage(ArrayBlock(0, "uint8", (4, 4, 3)), False, (PATCHES,))
    found = with_patch_rows(analyses, layers, image)
    assert found[layer.attention].patch_rows is not None
    assert found[other].patch_rows is None
    assert with_patch_rows(analyses, layers, None) == analyses
