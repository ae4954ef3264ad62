"""The palettes: greys for letters, a colour map for values, and signs that neither contains."""

import numpy as np
import pytest

from attnmon_renderer.drawing.spec.palettes import (
    CHANGE_PALETTE,
    INK,
    LEVELS,
    MARK,
    NOT_FINITE,
    WEIGHT_PALETTE,
    Palette,
)

LIGHTNESS = (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize(
    "palette", [WEIGHT_PALETTE, CHANGE_PALETTE], ids=lambda palette: palette.name
)
def test_greys_stand_at_their_own_value(palette: Palette) -> None:
    """So letters can be drawn on the palette's indices as if they were greys."""
    greys = np.arange(INK, 256)
    assert palette.colours.shape == (256, 3)
    assert (palette.colours[greys] == greys[:, None]).all()


@pytest.mark.parametrize(
    "palette", [WEIGHT_PALETTE, CHANGE_PALETTE], ids=lambda palette: palette.name
)
def test_no_level_is_mistaken_for_a_sign(palette: Palette) -> None:
    levels = palette.colours[:LEVELS].astype(int)
    for sign in (NOT_FINITE, palette.masked_index):
        assert np.abs(levels - palette.colours[sign]).sum(axis=1).min() > 60


def test_a_mark_stands_out_from_every_weight() -> None:
    levels = WEIGHT_PALETTE.colours[:LEVELS].astype(int)
    assert np.abs(levels - WEIGHT_PALETTE.colours[MARK]).sum(axis=1).min() > 150


def test_lighter_means_more() -> None:
    assert (np.diff(WEIGHT_PALETTE.colours[:LEVELS] @ LIGHTNESS) > 0).all()


def test_changes_are_darker_the_larger_they_are() -> None:
    lightness = CHANGE_PALETTE.colours[:LEVELS] @ LIGHTNESS
    less, more = lightness[: LEVELS // 2], lightness[LEVELS // 2 :]
    assert (np.diff(less) > 0).all()
    assert (np.diff(more) < 0).all()
