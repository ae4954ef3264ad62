"""Lengths that a page's parts have by themselves."""

import numpy as np
import pytest

from attnmon_renderer.drawing.spec.page import CellMap, ColorBar
from attnmon_renderer.drawing.spec.scales import weight_scale

SCALE = weight_scale(1.0)


def test_a_map_is_as_large_as_its_cells() -> None:
    values = np.zeros((3, 5), np.float32)
    area = CellMap(10, 20, 7, 9, values, values > 0, (), (), SCALE)
    assert (area.width, area.height) == (35, 27)


@pytest.mark.parametrize(("fraction", "offset"), [(0, 320), (1, 0), (0.5, 160), (0.25, 240)])
def test_offsets_on_a_bar_are_from_the_upper_end(fraction: float, offset: int) -> None:
    assert ColorBar(0, 0, 30, 320, SCALE).offset(fraction) == offset
