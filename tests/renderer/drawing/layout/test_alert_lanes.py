"""The alerts of a timeline: where their bars and marks stand, and in which colours."""

import numpy as np

from attnmon_renderer.drawing.layout.alert_lanes import AlertLanes
from attnmon_renderer.drawing.spec.figure_data import AlertSpan
from attnmon_renderer.drawing.spec.page import ColorBlock
from attnmon_renderer.drawing.spec.palettes import ALERT_PALETTE, SEVERITY_COLOURS
from attnmon_renderer.drawing.text.font_sizes import FontSizes

GROWTH = (
    AlertSpan("logit_growth", "warn", 100, 300, frozenset({"decoder 0 self"})),
    AlertSpan("logit_growth", "error", 200, 250, frozenset({"decoder 1 self"})),
)
SPIKE = AlertSpan("loss_spike", "warn", 50, 50, frozenset({"loss"}))


def lanes(*spans: AlertSpan) -> AlertLanes:
    """A pixel a step, from x 10 on."""
    return AlertLanes(spans, left=10, right=510, top=0, across=lambda steps: steps + 10)


def ends(blocks: list[ColorBlock]) -> list[tuple[int, int, int]]:
    return [(block.x, block.x + block.width, block.index) for block in blocks]


def test_each_rule_has_a_lane_in_which_the_most_serious_alert_is_seen() -> None:
    made = lanes(*GROWTH, SPIKE)
    assert made.rules == ("loss_spike", "logit_growth")
    warn, error = SEVERITY_COLOURS["warn"], SEVERITY_COLOURS["error"]
    spike, *growth = made.bars()
    assert ends(growth) == [(110, 210, warn), (210, 260, error), (260, 310, warn)]
    assert len({block.y for block in growth}) == 1
    assert spike.y + spike.height < growth[0].y < made.middle("logit_growth")
    assert spike.width >= 4  # seen, although it fired for a single step
    assert growth[0].y + growth[0].height < made.height


def test_a_mark_stands_in_the_row_that_an_alert_is_about() -> None:
    made = lanes(*GROWTH, SPIKE)
    (mark,) = made.marks("decoder 1 self", 70, 20)
    assert (mark.x, mark.y, mark.height) == (210, 70, 20)
    assert mark.index == SEVERITY_COLOURS["error"]
    assert list(made.marks("decoder 2 self", 70, 20)) == []


def test_hundreds_of_alerts_take_no_more_blocks_than_there_is_room() -> None:
    random = np.random.default_rng(0)
    starts = random.integers(0, 500, 5000).tolist()
    made = lanes(*(AlertSpan("logit_high", "info", s, s + 20, frozenset({"loss"})) for s in starts))
    assert len([*made.bars(), *made.marks("loss", 0, 9)]) <= 2 * 500
    assert made.height < 100


def test_an_alert_at_the_last_step_is_within_the_lane() -> None:
    (bar,) = lanes(AlertSpan("nonfinite", "error", 500, 500)).bars()
    assert bar.x + bar.width <= 510
    assert bar.width >= 4


def test_the_legend_has_the_severities_that_occur() -> None:
    found = list(lanes(*GROWTH).legend(FontSizes(1.0)))
    assert [text.string for _, text in found] == ["warn", "error"]
    colours = [ALERT_PALETTE.colours[block.index].tolist() for block, _ in found]
    assert colours == [[255, 127, 14], [214, 39, 40]]  # tab10's orange and red
    assert lanes().height == 0
