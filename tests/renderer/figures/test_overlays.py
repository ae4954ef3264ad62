"""Attention over an image: the class token's row and the rollout, by hand in float64."""

from dataclasses import replace

import numpy as np
import pytest
from support.messages import CAPTURE, OPTIONS

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.sample_image import PatchedLayer, SampleImage
from attnmon.link.records.schema import MessageError
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.analysis.patch_rows import with_patch_rows
from attnmon_renderer.drawing import Page
from attnmon_renderer.figures.figure_plan import missing_figure_notices, plan_figures
from attnmon_renderer.maps.maps_writer import CaptureMaps
from attnmon_renderer.worker import analyze_all

ROWS, COLUMNS, EARLIER, HEADS, LAYERS = 3, 4, 2, 2, 2
KEYS = EARLIER + ROWS * COLUMNS
PIXELS = np.full((30, 40, 3), 99, np.uint8)
BOTH = replace(OPTIONS, pictures=("image_overlay", "rollout_overlay"))


@pytest.fixture
def weights() -> np.ndarray:
    """[layers, heads, queries, keys] in float64."""
    random = np.random.default_rng(0).random((LAYERS, HEADS, KEYS, KEYS)) ** 4
    return np.asarray(random / random.sum(axis=-1, keepdims=True))


def capture_of(weights: np.ndarray, has_class: bool = True, remark: str = "") -> Capture:
    size = weights[0].astype(np.float32).nbytes
    attentions = tuple(
        Attention(
            f"blocks.{number}", "encoder", number, "self_attention", "softmax", (0, 1),
            weights=ArrayBlock(number * size, "float32", layer.shape),
        )
        for number, layer in enumerate(weights)
    )  # fmt: skip
    patched = tuple(
        PatchedLayer("encoder", a.layer, a.type, ROWS, COLUMNS, EARLIER, has_class, remark)
        for a in attentions
    )
    image = SampleImage(ArrayBlock(0, "uint8", PIXELS.shape), True, patched)
    return replace(CAPTURE, attentions=attentions, image=image)


def drawn(weights: np.ndarray, capture: Capture) -> dict[str, Page]:
    memory = weights.astype(np.float32).tobytes()
    layers = {a: LayerAttention(a, memory) for a in capture.attentions}
    analyses = with_patch_rows(
        analyze_all(layers, BOTH, CaptureMaps(layers, BOTH)), layers, capture.image
    )
    assert missing_figure_notices(BOTH, capture, analyses, PIXELS) == ()
    figures = plan_figures(capture, BOTH, analyses, PIXELS)
    return {figure.name: figure.make_page() for figure in figures}


def grid(row: np.ndarray) -> np.ndarray:
    """Lays the patches of a row out by hand: row by row, behind what comes before them."""
    return np.array([[row[2 + 4 * y + x] for x in range(4)] for y in range(3)])


def rolled_out(weights: np.ndarray) -> np.ndarray:
    flow = np.eye(KEYS)
    for layer in weights:
        flow = (layer.mean(axis=0) / 2 + np.eye(KEYS) / 2) @ flow
    return flow


def shown(page: Page) -> np.ndarray:
    return np.asarray(page.maps[2].values)


def test_the_class_token_s_row_is_laid_out_as_patches(weights: np.ndarray) -> None:
    pages = drawn(weights, capture_of(weights))
    assert list(pages) == [
        *("encoder_layer0_self_attn_overlay", "encoder_layer1_self_attn_overlay"),
        "encoder_rollout_overlay",
    ]
    for number in range(LAYERS):
        expected = grid(weights[number].mean(axis=0)[0])
        page = pages[f"encoder_layer{number}_self_attn_overlay"]
        np.testing.assert_allclose(shown(page), expected, rtol=1e-5)
    page = pages["encoder_rollout_overlay"]
    np.testing.assert_allclose(shown(page), grid(rolled_out(weights)[0]), rtol=1e-5)
    assert page.bars[0].scale.name.startswith("flow of attention")


def test_without_a_class_token_it_is_the_mean_over_the_patches(weights: np.ndarray) -> None:
    pages = drawn(weights, capture_of(weights, has_class=False))
    expected = grid(weights[0].mean(axis=0)[EARLIER:].mean(axis=0))
    page = pages["encoder_layer0_self_attn_overlay"]
    np.testing.assert_allclose(shown(page), expected, rtol=1e-5)
    flow = shown(pages["encoder_rollout_overlay"])
    np.testing.assert_allclose(flow, grid(rolled_out(weights)[EARLIER:].mean(axis=0)), rtol=1e-5)


def test_the_page_says_whose_attention_it_is_and_what_was_assumed(weights: np.ndarray) -> None:
    remark = (
        "3 tokens are taken to come before the patches · the first token is taken for the class "
        "token's · a grid of 3 × 4 is assumed"
    )
    page = drawn(weights, capture_of(weights, remark=remark))["encoder_layer0_self_attn_overlay"]
    said = " ".join(text.string for text in page.texts)
    on_patches = weights[0].mean(axis=0)[0, EARLIER:].sum()
    for words in (
        "encoder layer 0 · self-attention · over the image",
        "class token · average of 2 heads",
        f"{on_patches:.0%} on patches, {1 - on_patches:.0%} on 2 other tokens",
        remark,
        "its smallest value black, its largest white",
    ):
        assert words in said, "nothing of the note is cut off"
    pooled = drawn(weights, capture_of(weights, has_class=False))
    texts = pooled["encoder_layer0_self_attn_overlay"].texts
    assert any("mean over all patches" in text.string for text in texts)


def test_without_the_image_there_is_no_such_picture(weights: np.ndarray) -> None:
    capture = replace(capture_of(weights), image=None)
    memory = weights.astype(np.float32).tobytes()
    layers = {a: LayerAttention(a, memory) for a in capture.attentions}
    analyses = analyze_all(layers, BOTH, CaptureMaps(layers, BOTH))
    assert list(plan_figures(capture, BOTH, analyses)) == []
    assert missing_figure_notices(BOTH, capture, analyses) == (), "the training has said why"


def test_a_rollout_that_lacks_a_layer_is_said(weights: np.ndarray) -> None:
    capture = capture_of(weights)
    layer = capture.attentions[1]
    layers = {layer: LayerAttention(layer, weights.astype(np.float32).tobytes())}
    analyses = with_patch_rows(
        analyze_all(layers, BOTH, CaptureMaps(layers, BOTH)), layers, capture.image
    )
    ((kind, text),) = missing_figure_notices(BOTH, capture, analyses, PIXELS)
    assert kind == "rollout_overlay"
    assert "layers_to_visualize='all'" in text


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("uint8", (4, 4)), ("uint8", (4, 4, 4)), ("float32", (4, 4, 3)), ("uint8", (257, 4, 3))],
)
def test_a_message_with_an_image_of_another_shape_is_refused(
    dtype: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(MessageError, match="pixels"):
        SampleImage(ArrayBlock(0, dtype, shape), False, ())
