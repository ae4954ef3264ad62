"""Which figures a capture gives, their names, and the maps and notices that go with them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.messages import CAPTURE, OPTIONS
from support.pictures import assert_texts_stand_apart

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention, AttentionType, Stack
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.options import PICTURES
from attnmon_renderer.analysis.layer_analysis import LayerAnalysis, analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.figures.figure_kinds import FIGURE_KINDS
from attnmon_renderer.figures.figure_output import animation_frames
from attnmon_renderer.figures.figure_plan import (
    MapSizes,
    map_sizes,
    missing_figure_notices,
    plan_figures,
)
from attnmon_renderer.figures.figure_source import FigureSource
from attnmon_renderer.storage import paths

QUERIES, KEYS = 5, 5
ALL_KINDS = replace(OPTIONS, pictures=PICTURES)


def layer(
    number: int, stack: Stack = "decoder", type_: AttentionType = "self_attention"
) -> Attention:
    block = ArrayBlock(0, "float32", (2, QUERIES, KEYS))
    return Attention(f"{stack}.{number}", stack, number, type_, "softmax", (0, 1), weights=block)


def analyzed(
    layers: Sequence[Attention], average_side: int = 1024
) -> tuple[Capture, dict[Attention, LayerAnalysis]]:
    memory = np.full((2, QUERIES, KEYS), 1 / KEYS, np.float32).tobytes()
    analyses = {
        attention: analyze_layer(
            LayerAttention(attention, memory), average_side=average_side, head_side=256
        )
        for attention in layers
    }
    return replace(CAPTURE, attentions=tuple(layers)), analyses


def test_every_kind_of_picture_has_an_entry_and_a_file_name() -> None:
    assert FIGURE_KINDS.keys() == paths.STEP_FIGURES.keys()
    assert (*paths.STEP_FIGURES, *paths.RUN_FIGURES) == PICTURES


def test_figures_of_single_layers_come_before_those_of_groups() -> None:
    layers = [layer(0), layer(1), layer(0, type_="cross_attention")]
    capture, analyses = analyzed(layers)
    figures = plan_figures(capture, ALL_KINDS, analyses)
    names = [figure.name for figure in figures]
    assert names == [
        *("decoder_layer0_self_attn", "decoder_layer0_self_attn_heads"),
        "decoder_layer0_self_attn_3d",
        *("decoder_layer1_self_attn", "decoder_layer1_self_attn_heads"),
        "decoder_layer1_self_attn_3d",
        *("decoder_layer0_cross_attn", "decoder_layer0_cross_attn_heads"),
        *("decoder_layer0_cross_attn_alignment", "decoder_layer0_cross_attn_3d"),
        *("decoder_self_layer_comparison", "decoder_self_head_matrix", "decoder_self_rollout"),
        *("decoder_cross_layer_comparison", "decoder_cross_head_matrix"),
    ]


def test_only_the_requested_kinds_are_planned() -> None:
    capture, analyses = analyzed([layer(0, "encoder")])
    options = replace(OPTIONS, pictures=("head_matrix", "heatmap"))
    figures = list(plan_figures(capture, options, analyses))
    assert [figure.name for figure in figures] == [
        "encoder_layer0_self_attn",
        "encoder_head_matrix",
    ]
    assert [figure.tag for figure in figures] == [
        "attention/encoder_layer0_self",
        "attention/encoder_head_matrix",
    ]


def test_each_planned_figure_has_a_page_that_is_captioned() -> None:
    capture, analyses = analyzed([layer(0), layer(1), layer(0, type_="cross_attention")])
    for figure in plan_figures(capture, ALL_KINDS, analyses):
        page = figure.make_page()
        assert any("step 100 · epoch 1 · loss 0.5" in text.string for text in page.texts)
        assert_texts_stand_apart(page)


def test_the_colour_scale_ends_where_the_options_say() -> None:
    capture, analyses = analyzed([layer(0)])
    options = replace(OPTIONS, pictures=("heatmap",), color_top=0.9)
    (figure,) = plan_figures(capture, options, analyses)
    assert figure.make_page().bars[0].scale.high == 0.9


def test_layers_of_a_group_are_in_the_models_order() -> None:
    source = FigureSource(*analyzed([layer(2), layer(0), layer(1, "encoder"), layer(1)]))
    groups = [[attention.layer for attention in group] for group in source.layers_of("group")]
    assert groups == [[0, 1, 2], [1]]


@pytest.mark.parametrize(
    ("kinds", "sizes"),
    [
        ((), MapSizes(None, None)),
        (("head_matrix", "timeline"), MapSizes(None, None)),
        (("animation",), MapSizes(256, None)),
        (("layer_comparison", "multi_head"), MapSizes(256, 256)),
        (("layer_comparison", "rollout"), MapSizes(1024, None)),
        (PICTURES, MapSizes(1024, 256)),
    ],
)
def test_maps_are_as_large_as_the_largest_figure_needs(
    kinds: tuple[str, ...], sizes: MapSizes
) -> None:
    assert map_sizes(replace(OPTIONS, pictures=kinds)) == sizes


@pytest.mark.parametrize(
    ("layers", "missing"),
    [
        ([layer(0)], ["alignment"]),
        ([layer(1)], ["rollout", "alignment"]),
        ([layer(0, type_="cross_attention")], ["rollout"]),
        ([layer(0), layer(0, type_="cross_attention")], []),
    ],
)
def test_a_kind_that_applies_to_no_layer_is_said(
    layers: list[Attention], missing: list[str]
) -> None:
    capture, analyses = analyzed(layers)
    assert [kind for kind, _ in missing_figure_notices(ALL_KINDS, capture, analyses)] == missing
    assert missing_figure_notices(OPTIONS, capture, analyses) == ()


def test_pooled_maps_do_not_roll_out() -> None:
    capture, analyses = analyzed([layer(0)], average_side=2)
    options = replace(OPTIONS, pictures=("rollout",))
    assert list(plan_figures(capture, options, analyses)) == []
    (notice,) = missing_figure_notices(options, capture, analyses)
    assert notice[0] == "rollout"


def test_each_layer_gives_an_animation_a_frame_up_to_a_weight_of_one() -> None:
    capture, analyses = analyzed([layer(0), layer(1)])
    assert animation_frames(capture, OPTIONS, analyses) == []
    frames = animation_frames(capture, ALL_KINDS, analyses)
    assert [frame.stem for frame in frames] == [
        "decoder_layer0_self_attn",
        "decoder_layer1_self_attn",
    ]
    assert {frame.heatmap().top for frame in frames} == {1.0}
