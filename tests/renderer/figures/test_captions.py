"""The text on figures, for every combination of what is known."""

from dataclasses import replace

import numpy as np
import pytest
from support.messages import CAPTURE, LAYER

from attnmon_renderer.analysis.layer_analysis import PooledMap
from attnmon_renderer.drawing import Axis
from attnmon_renderer.figures import captions


def pooled(query_step: int, key_step: int) -> PooledMap:
    nothing = np.zeros((1, 1), np.float32)
    return PooledMap(nothing, nothing > 0, query_step, key_step, "mass")


def test_a_layers_caption_says_what_was_done_to_its_map() -> None:
    layer = replace(LAYER, note="no mask was seen")
    caption = captions.layer_caption(CAPTURE, layer, pooled(2, 4), "8 heads")
    assert caption.title == "decoder layer 0 · self-attention"
    assert caption.note == "8 heads · pooled 2×4 by mass · no mask was seen"
    assert captions.layer_caption(CAPTURE, LAYER, pooled(1, 1), "8 heads").note == "8 heads"


def test_a_groups_caption_names_no_layer() -> None:
    caption = captions.group_caption(CAPTURE, LAYER, "by layer", "average of 4 heads")
    assert caption.title == "decoder self-attention · by layer"


@pytest.mark.parametrize(
    ("epoch", "loss", "line"),
    [
        (3, 0.12345, "step 1,200 · epoch 3 · loss 0.1235"),
        (None, 2.0, "step 1,200 · loss 2"),
        (None, None, "step 1,200"),
    ],
)
def test_the_run_line_leaves_out_what_is_not_known(
    epoch: int | None, loss: float | None, line: str
) -> None:
    assert captions.run_line(replace(CAPTURE, step=1200, epoch=epoch, loss=loss)) == line


@pytest.mark.parametrize(
    ("heads", "average", "count"),
    [
        ((3,), "head 3", "head 3"),
        ((0, 1, 2), "average of 3 heads", "3 heads"),
        ((1, 4), "average of heads 1, 4", "2 heads"),
    ],
)
def test_heads_are_named_unless_they_are_all(
    heads: tuple[int, ...], average: str, count: str
) -> None:
    layer = replace(LAYER, heads=heads, query=replace(LAYER.query, shape=(len(heads), 7, 8)),
                    key=replace(LAYER.key, shape=(1, 9, 8)))  # fmt: skip
    assert captions.describe_average(layer) == average
    assert captions.describe_heads(layer) == count


def test_keys_of_a_prefix_have_negative_numbers_before_the_tokens() -> None:
    capture = replace(CAPTURE, decoder_tokens=tuple("abcdefg"))
    queries, keys = captions.axes(capture, replace(LAYER, earlier=2), pooled(1, 1))
    assert (queries.tokens, queries.earlier) == (tuple("abcdefg"), 0)
    assert (keys.tokens, keys.earlier) == (("−2", "−1", *"abcdefg"), 2)


def test_axes_have_tokens_only_where_there_is_one_for_each_position() -> None:
    capture = replace(CAPTURE, decoder_tokens=tuple("abcdefg"), encoder_tokens=tuple("abcdefghi"))
    queries, keys = captions.axes(capture, LAYER, pooled(1, 2))
    assert queries == Axis(7, 1, tuple("abcdefg"))
    assert keys == Axis(9, 2, (), cells_are_sums=True)
    _, keys = captions.axes(capture, replace(LAYER, type="cross_attention"), pooled(1, 1))
    assert keys.tokens == tuple("abcdefghi")
