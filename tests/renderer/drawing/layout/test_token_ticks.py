"""Tokens at the ticks: all that can be read, or the first, the last, the strongest, every k-th."""

import numpy as np
import pytest

from attnmon_renderer.drawing.layout.cell_size import MapSide
from attnmon_renderer.drawing.layout.ticks import Ticks
from attnmon_renderer.drawing.layout.token_ticks import (
    downward_parts,
    label_height,
    line_height,
    runs_downwards,
    shows_tokens,
    thinned,
    token_ticks,
)
from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.spec.panel import Axis
from attnmon_renderer.drawing.text.glyphs import text_width

FONT = Font(22)


def ticks_of(tokens: tuple[str, ...], cell: int, across: bool = True, merged: int = 1) -> Ticks:
    side = MapSide(Axis(len(tokens), tokens=tokens), merged, cell)
    assert shows_tokens(side)
    return token_ticks(side, FONT, across, lambda: np.eye(len(tokens))[len(tokens) // 2])


def test_all_tokens_are_shown_where_each_cell_has_room_for_one() -> None:
    ticks = ticks_of(("the", " cat", "", "x" * 50), 40)
    assert ticks.tokens
    assert ticks.every == 1
    assert ticks.labels[:2] == ("the", "␣cat")
    assert ticks.labels[2].endswith("…")
    assert ticks.offsets == (20, 60, 140), "an empty token, as that of padding, has no label"


@pytest.mark.parametrize(("cell", "merged"), [(10, 1), (3, 1), (8, 2)])
def test_where_not_all_have_room_the_telling_ones_stand_apart(cell: int, merged: int) -> None:
    ticks = ticks_of(tuple(f"t{number}" for number in range(101)), cell, merged=merged)
    assert ticks.every > 1
    assert {"t0", "t100", "t50"} <= set(ticks.labels)
    assert min(np.diff(ticks.offsets)) >= 17
    assert len(ticks.labels) >= 101 * cell / merged / 18 / 2


def test_of_what_is_padded_the_last_token_is_labelled_and_no_padding() -> None:
    tokens = ("",) * 30 + tuple(f"t{number}" for number in range(40)) + ("",) * 30
    ticks = token_ticks(
        MapSide(Axis(100, tokens=tokens), 1, 5), FONT, True, lambda: np.arange(100.0)
    )
    assert {"t0", "t39"} <= set(ticks.labels)
    assert "∅" not in ticks.labels
    assert ticks_of(("", ""), 40).labels == ("∅", "∅")


def test_tokens_that_are_not_known_are_not_shown() -> None:
    assert not shows_tokens(MapSide(Axis(4), 1, 40))


def test_tokens_of_pooled_cells_stand_at_their_positions() -> None:
    side = MapSide(Axis(100, 2, tokens=tuple(map(str, range(100)))), 1, 10)
    ticks = token_ticks(side, FONT, True, lambda: np.empty(0))
    assert ticks.every == 4
    assert ticks.labels[:3] == ("0", "4", "8")
    assert ticks.labels[-1] == "99"
    assert ticks.offsets[:2] == (3, 23)


def test_the_strongest_come_before_every_kth() -> None:
    strengths = np.zeros(100)
    strengths[[33, 71]] = 2, 1
    every, shown = thinned(np.arange(100), 8.5, strengths)
    assert every == 10
    assert {0, 99, 33, 71} <= set(shown)
    assert 30 not in shown
    assert {10, 20, 50, 60, 80} <= set(shown)
    assert min(np.diff(shown)) >= 8.5


def test_the_room_is_that_of_all_tokens_so_that_pages_of_a_film_are_of_one_size() -> None:
    tokens = ["a"] * 100
    tokens[77] = "longest"
    ticks = ticks_of(tuple(tokens), 5, across=False)
    assert "longest" not in ticks.labels
    assert ticks.room == text_width("longest", ticks.font)


def test_chinese_runs_downwards_and_other_scripts_are_turned() -> None:
    assert all(
        map(runs_downwards, ("注意力", "データ", "토큰", "␣我们", "😀", "A股", "你①", "a", "↵"))
    )
    assert not any(
        map(runs_downwards, ("cat", "مرحبا", "हिन्दी", "ไทย", "مرحبا😀", "GPT模型", "␣a", "12"))
    )
    assert downward_parts("データ、か") == ("デ", "︱", "タ", "︑", "か")
    assert label_height("注意力", FONT) == 3 * line_height(FONT)
    assert label_height("cat", FONT) == text_width("cat", FONT)


def test_a_label_that_runs_downwards_ends_where_others_do() -> None:
    ticks = ticks_of(("注" * 20,), 40)
    (label,) = ticks.labels
    assert label.endswith("…")
    assert label_height(label, ticks.font) <= 9 * 22


def test_the_other_tokens_say_whose_characters_are_meant() -> None:
    assert ticks_of(("骨", "は", "白い"), 30).font.language == "JP"
    assert ticks_of(("骨", "头", "们"), 30).font.language == "SC"
