"""Which layers see patches of the image, in what grid, and what comes before them."""

import pytest
import torch
from support.vision import TinyVision
from torch import nn

from attnmon.layers.image_patches import Grid, NoPatches, find_cuts, patched_layer
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon.link.records.sample_image import PatchedLayer

SIZE = (32, 48)
"""4 × 6 patches of 8 × 8 pixels."""


def layer(keys: int, queries: int = 0, name: str = "blocks.0", note: str = "") -> Attention:
    weights = ArrayBlock(0, "float32", (2, queries or keys, keys))
    return Attention(
        name, "encoder", 0, "self_attention", "softmax", (0, 1), weights=weights, note=note
    )


def patched(
    model: nn.Module, attention: Attention, given: Grid | None = None, size: Grid = SIZE
) -> PatchedLayer:
    return patched_layer(attention, find_cuts(model, [attention.name]), size, given)


def seen(layer: PatchedLayer) -> tuple[int, int, int, bool, str]:
    return layer.rows, layer.columns, layer.earlier, layer.has_class, layer.remark


def test_the_model_tells_the_grid_and_its_class_token_and_registers() -> None:
    assert seen(patched(TinyVision(1, 2), layer(27))) == (4, 6, 3, True, "")
    assert seen(patched(TinyVision(1, 0), layer(25))) == (4, 6, 1, True, "")
    assert seen(patched(TinyVision(0, 0), layer(24))) == (4, 6, 0, False, "")


@pytest.mark.parametrize(
    ("classes", "registers"),
    [("cls", "reg"), ("cls_tok", "registers"), ("class_embed", "register_tok")],
)
def test_people_give_their_tokens_many_names(classes: str, registers: str) -> None:
    model = TinyVision(0, 0)
    model.register_parameter(classes, nn.Parameter(torch.zeros(1, 1, 8)))
    model.register_parameter(registers, nn.Parameter(torch.zeros(2, 8)))
    assert seen(patched(model, layer(27))) == (4, 6, 3, True, "")


def test_before_the_class_token_is_added_there_are_patches_alone() -> None:
    assert seen(patched(TinyVision(1, 2), layer(24))) == (4, 6, 0, False, "")


def test_of_several_grids_that_would_fit_none_is_assumed() -> None:
    """Nine positions: nine patches, or four after five learned tokens."""
    model = nn.Module()
    model.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
    model.reg_token = nn.Parameter(torch.zeros(1, 4, 8))
    with pytest.raises(NoPatches, match="several grids of square patches of 36 × 36"):
        patched(model, layer(9), size=(36, 36))
    assert seen(patched(model, layer(16), size=(36, 36)))[:3] == (4, 4, 0)


def test_a_single_query_that_pools_the_patches_sees_them() -> None:
    assert seen(patched(TinyVision(0, 0), layer(24, queries=1))) == (4, 6, 0, False, "")


def test_a_first_token_of_which_the_model_tells_nothing_is_said_to_be_assumed() -> None:
    rows, columns, earlier, has_class, remark = seen(patched(TinyVision(0, 0), layer(25)))
    assert (rows, columns, earlier, has_class) == (4, 6, 1, True)
    assert "is taken for the class token's" in remark


def test_registers_without_a_class_token_are_left_out_only_where_they_are_told_to_come_first() -> (
    None
):
    model = TinyVision(0, 2)
    with pytest.raises(NoPatches, match="whether its registers come before"):
        patched(model, layer(26))
    model.num_prefix_tokens = 2
    assert seen(patched(model, layer(26))) == (4, 6, 2, False, "")


@pytest.mark.parametrize(
    ("attention", "why"),
    [
        (layer(16), "within windows, or to other patches"),
        (layer(27, note="only the first of 4 windows of this sample"), "within windows"),
        (layer(40), "16 positions beside 4 × 6 patches.*3 class and register.*patch_grid"),
        (layer(27, queries=24), "24 queries and 27 keys"),
    ],
)
def test_positions_that_are_no_patches_are_refused(attention: Attention, why: str) -> None:
    with pytest.raises(NoPatches, match=why):
        patched(TinyVision(1, 2), attention)


def test_a_layer_that_reads_text_is_not_laid_over_the_image_whatever_its_length() -> None:
    model = nn.ModuleDict({"vision": TinyVision(1, 0), "text": TinyVision(0, 0)})
    model["text"].patch_embed = nn.Linear(1, 1)
    names = ["vision.blocks.0", "text.blocks.0"]
    cuts = find_cuts(model, names)
    assert patched_layer(layer(25, name=names[0]), cuts, SIZE, None).rows == 4
    with pytest.raises(NoPatches, match="not of the part of the model that sees the image"):
        patched_layer(layer(25, name=names[1]), cuts, SIZE, None)


def test_without_a_convolution_a_grid_of_square_patches_is_assumed_and_said() -> None:
    model = nn.Module()
    for keys, earlier in ((24, 0), (25, 1)):
        rows, columns, before, has_class, remark = seen(patched(model, layer(keys)))
        assert (rows, columns, before, has_class) == (4, 6, earlier, bool(earlier))
        assert "a grid of 4 × 6 is assumed" in remark
    with pytest.raises(NoPatches, match=r"no square patches of 32 × 48.*patch_grid"):
        patched(model, layer(30))


def test_the_user_s_grid_goes_before_all_that_the_model_tells() -> None:
    assert seen(patched(TinyVision(1, 2), layer(27), (6, 4))) == (6, 4, 3, True, "")
    remark = patched(TinyVision(1, 2), layer(27), (4, 4)).remark
    assert "11 tokens are taken to come before the patches" in remark
    with pytest.raises(NoPatches, match=r"27 positions, fewer than patch_grid=\(7, 7\)"):
        patched(TinyVision(1, 2), layer(27), (7, 7))


def test_a_convolution_that_overlaps_or_pads_tells_no_grid() -> None:
    model = TinyVision(1, 0)
    for convolution in (nn.Conv2d(3, 8, 8, 4), nn.Conv2d(3, 8, 8, 8, padding=2)):
        model.patch_embed = convolution
        assert "assumed" in patched(model, layer(25)).remark


def test_the_parameters_are_found_inside_a_wrapper() -> None:
    model = nn.DataParallel(TinyVision(1, 2))
    assert seen(patched(model, layer(27))) == (4, 6, 3, True, "")
