"""Each rule: what makes it fire, what does not although it looks alike, and what it says."""

import math
from typing import Any

import pytest
from support.captures import capture, changes, engine, layer, record

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.engine import Engine
from attnmon_renderer.insight.judging.capture_record import record_of
from attnmon_renderer.insight.judging.past import Past
from attnmon_renderer.insight.judging.rule import RUN, Rule
from attnmon_renderer.insight.judging.wording import figure, heads_words
from attnmon_renderer.insight.rule_table import RULES, make_rules
from attnmon_renderer.insight.rules.attention_collapse import AttentionCollapse
from attnmon_renderer.insight.rules.dead_attention import DeadAttention
from attnmon_renderer.insight.rules.future_leak import FutureLeak
from attnmon_renderer.insight.rules.logit_growth import LogitGrowth
from attnmon_renderer.insight.rules.logit_high import LogitHigh
from attnmon_renderer.insight.rules.loss_spike import LossSpike
from attnmon_renderer.insight.rules.nonfinite import Nonfinite
from attnmon_renderer.insight.rules.padding_leak import PaddingLeak
from attnmon_renderer.insight.rules.scale_odd import ScaleOdd

COLLAPSED: dict[str, float | None] = {"entropy": 0.03, "coverage": 0.1, "max_logit": 60.0}
CLASSES = (
    Nonfinite, FutureLeak, PaddingLeak, ScaleOdd, LogitGrowth, LogitHigh, AttentionCollapse,
    DeadAttention, LossSpike,
)  # fmt: skip


def alerts_of(judge: Engine, *captures: dict[str, Any]) -> list[Alert]:
    return [change.alert for each in captures for change in judge.observe(record_of(each))]


def test_the_table_has_every_rule_with_two_plain_sentences_of_documentation() -> None:
    assert [*RULES.values()] == [*CLASSES]
    assert [rule.name for rule in make_rules()] == list(RULES)


@pytest.mark.parametrize("name", RULES)
def test_a_healthy_training_is_quiet(name: str) -> None:
    quiet = [record(step, loss=3 / (1 + step)) for step in range(60)]
    assert changes(engine(name), quiet) == []


@pytest.mark.parametrize("name", RULES)
def test_captures_without_any_number_are_no_error(name: str) -> None:
    row = {"heads": None, "head_indices": None, "shape": None, "non_finite": None}
    bare = capture(0, layer(row=row), loss=None)
    for step in range(40):
        bare["metadata"] = {"step": step}
        assert list(engine(name).observe(record_of(bare))) == []


def test_nonfinite_names_the_first_layer_at_once() -> None:
    broken = layer(1, row={"non_finite": 12})
    (alert,) = alerts_of(
        engine("nonfinite"), capture(7, layer(0), broken, layer(2, row={"non_finite": 3}))
    )
    assert (alert.severity, alert.step, alert.role, alert.layer) == ("error", 7, "", None)
    assert alert.text.startswith("12 weights are NaN or infinite in layer 1 of the decoder's self-")
    (alert,) = alerts_of(engine("nonfinite"), capture(8, loss=None, loss_is_no_number=True))
    assert alert.text == "The loss is NaN or infinite."
    assert alerts_of(engine("nonfinite"), capture(8, loss=None)) == []


@pytest.mark.parametrize(
    ("row", "fires"),
    [
        ({"ahead": 1, "future_mass": 0.2}, True),
        ({"ahead": 0, "future_mass": 0.0}, False),
        ({"ahead": None, "sees_all": True, "future_mass": 0.5}, False),  # as DETR's decoder
        ({"ahead": None, "sees_all": True, "future_mass": 0.5, "predicts": True}, True),
        ({"ahead": None, "future_mass": 0.5, "predicts": True}, False),
    ],
)
def test_future_leak(row: dict[str, Any], fires: bool) -> None:
    found = alerts_of(engine("future_leak"), capture(0, layer(0, row=row), layer(1, row=row)))
    assert [(alert.severity, alert.role, alert.layer) for alert in found] == [
        ("error", "decoder_self", None)
    ] * fires
    of_encoder = capture(0, layer(row=row), stack="encoder")
    assert alerts_of(engine("future_leak"), of_encoder) == []


def test_padding_leak_says_how_much() -> None:
    (alert,) = alerts_of(
        engine("padding_leak"), capture(0, layer(padding_mass=0.78), stack="encoder")
    )
    assert (alert.severity, alert.value) == ("error", 0.78)
    assert (
        alert.text == "Real tokens pay 78.0% of the encoder's self-attention to padding in layer 0."
    )
    for mass in (None, 0.0, 5e-4):
        assert alerts_of(engine("padding_leak"), capture(0, layer(padding_mass=mass))) == []


def test_scale_odd_informs_once() -> None:
    odd, usual = ({"scale": scale, "width": 64} for scale in (1.0, 0.125))
    found = alerts_of(engine("scale_odd"), *(capture(step, layer(row=odd)) for step in range(9)))
    assert [(alert.severity, alert.value, alert.threshold) for alert in found] == [
        ("info", 1.0, 0.125)
    ]
    assert alerts_of(engine("scale_odd"), capture(0, layer(row=usual), layer(1))) == []


def test_logits_that_double_within_ten_captures_warn_and_those_that_stay_high_do_not() -> None:
    growing = [record(step, layer(max_logit=4 * 1.1**step)) for step in range(40)]
    found = changes(engine("logit_growth"), growing)
    first = next(step for step in range(40) if 4 * 1.1 ** (step - 1) > 50)
    assert found == [("warn", "firing", first + 1)]
    high = [record(step, layer(max_logit=400.0)) for step in range(40)]
    assert changes(engine("logit_growth"), high) == []
    slow = [record(step, layer(max_logit=40 * 1.03**step)) for step in range(60)]
    assert changes(engine("logit_growth"), slow) == []
    one = [record(step, layer(max_logit=900.0 if step == 20 else 5.0)) for step in range(40)]
    assert changes(engine("logit_growth"), one) == []


def test_growth_past_what_half_precision_holds_becomes_an_error() -> None:
    growing = [record(step, layer(max_logit=4 * 1.5**step)) for step in range(24)]
    assert [each[:2] for each in changes(engine("logit_growth"), growing)] == [
        ("warn", "firing"),
        ("error", "firing"),
    ]


def test_growth_tells_which_heads_and_that_there_is_a_norm() -> None:
    heads: dict[str, list[float | None]] = {"max_logit": [3.0, 90.0, None, 80.0]}
    before, after = layer(), layer(of_heads=heads, row={"normed": True})
    found = alerts_of(
        engine("logit_growth"), *(capture(n, before if n < 12 else after) for n in range(16))
    )
    assert found[0].heads == (1, 3)
    assert "although its queries and keys are normalised, most in heads 1 and 3" in found[0].text
    assert "gain" in found[0].advice


def test_high_logits_inform_and_very_high_ones_warn() -> None:
    def run(top: float) -> list[tuple[str, str, int]]:
        return changes(engine("logit_high"), [record(n, layer(max_logit=top)) for n in range(8)])

    assert (run(60.0), run(150.0), run(1500.0)) == (
        [],
        [("info", "firing", 1)],
        [("warn", "firing", 1)],
    )


@pytest.mark.parametrize(
    ("values", "fires"),
    [
        ({}, True),
        ({"coverage": 0.6}, False),  # copies the token before: every key is used
        ({"entropy": 0.5}, False),
        ({"coverage": None, "first_token": 1.0}, False),  # only a sink
        ({"max_logit": 12.0}, False),  # as sharp as it takes to pick a key
        ({"max_logit": None}, True),
    ],
)
def test_collapse_takes_few_keys_by_large_logits(values: dict[str, Any], fires: bool) -> None:
    given = COLLAPSED | values
    found = changes(engine("attention_collapse"), [record(n, layer(**given)) for n in range(9)])
    assert found == [("warn", "firing", 1)] * fires


def test_a_soft_cap_below_what_a_collapse_takes_hides_none() -> None:
    capped = layer(**COLLAPSED | {"max_logit": 19.5}, row={"softcap": 20.0})
    assert changes(engine("attention_collapse"), [record(n, capped) for n in range(9)])


@pytest.mark.parametrize(
    ("losses", "found"),
    [
        ([2.0] * 40, [("warn", "firing", 21)]),
        ([2.0 * 0.93**step for step in range(40)], [("info", "firing", 21)]),  # it learns
        ([2.0] * 15 + [0.1] * 25, [("info", "firing", 21)]),  # it has learnt, and nothing is left
        ([2.0] * 15 + [0.8] * 25, [("info", "firing", 21), ("warn", "firing", 27)]),
        ([1.0] * 15 + [1.5] * 25, [("error", "firing", 21)]),
        ([None] * 40, [("warn", "firing", 21)]),
    ],
)
def test_a_collapse_while_the_loss_falls_only_informs(
    losses: list[float | None], found: list[tuple[str, str, int]]
) -> None:
    after = layer(**COLLAPSED)
    records = [record(n, after if n >= 20 else layer(), loss=loss) for n, loss in enumerate(losses)]
    assert changes(engine("attention_collapse"), records) == found


def test_a_collapse_of_which_neither_logits_nor_a_loss_are_known_only_informs() -> None:
    records = [record(n, layer(**COLLAPSED | {"max_logit": None}), loss=None) for n in range(9)]
    assert changes(engine("attention_collapse"), records) == [("info", "firing", 1)]


def test_half_of_the_heads_are_enough_and_a_rising_loss_makes_it_an_error() -> None:
    def low(count: int) -> dict[str, Any]:
        pairs = {"entropy": (0.03, 0.5), "coverage": (0.1, 0.6), "max_logit": (60.0, 5.0)}
        return layer(of_heads={n: [a] * count + [b] * (4 - count) for n, (a, b) in pairs.items()})

    assert changes(engine("attention_collapse"), [record(n, low(1)) for n in range(9)]) == []
    records = [record(n, low(2) if n > 12 else layer(), loss=1.0) for n in range(20)]
    records += [record(n, low(2), loss=2.0) for n in range(20, 30)]
    found = changes(engine("attention_collapse"), records)
    assert [each[:2] for each in found] == [("warn", "firing"), ("error", "firing")]


def test_dead_attention_waits_and_only_informs() -> None:
    dead = [record(n, layer(entropy=0.995), layer(1, entropy=0.99)) for n in range(45)]
    assert changes(engine("dead_attention"), dead) == [("info", "firing", 34)]
    one = [record(n, layer(entropy=0.995), layer(1, entropy=0.9)) for n in range(45)]
    assert changes(engine("dead_attention"), one) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"entropy": 1.0, "max_logit": 0.0}, [("warn", "firing", 4)]),
        ({"entropy": 1.0 - 1e-8, "max_logit": 3.0}, [("warn", "firing", 34)]),  # constant keys
        ({"entropy": 1.0, "max_logit": None}, [("warn", "firing", 34)]),
        ({"entropy": 0.9999, "max_logit": 0.1}, []),
        ({"entropy": 0.5, "max_logit": 0.0}, []),  # logits less the largest of their row
        ({"entropy": None, "max_logit": 0.0}, []),  # a single key
    ],
)
def test_a_layer_whose_logits_do_not_differ_at_all_is_a_warning(
    values: dict[str, Any], found: list[tuple[str, str, int]]
) -> None:
    records = [record(n, layer(), layer(1, **values)) for n in range(40)]
    assert changes(engine("dead_attention"), records) == found


def test_a_loss_that_jumps_is_a_spike_and_noise_is_none() -> None:
    def noise(n: int) -> float:
        return 2.0 + 0.05 * math.sin(37.0 * n)

    calm = [record(n, loss=noise(n)) for n in range(60)]
    assert changes(engine("loss_spike"), calm) == []
    jumps = [record(n, loss=noise(n) + 2.0 * (n == 50)) for n in range(60)]
    assert changes(engine("loss_spike"), jumps) == [
        ("warn", "firing", 50),
        ("warn", "resolved", 55),
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top": -1.0}, "give a number from 0 on"),
        ({"top": math.nan}, "give a number"),
        ({"top": "50"}, "give a number"),
        ({"patience": 0}, "1 is at once"),
        ({"peak": 1.0}, "no setting 'peak': it has patience, top"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_rules(["logit_growth"], {"logit_growth": settings})


def test_rules_are_chosen_by_name_and_take_settings() -> None:
    (rule,) = make_rules(["logit_growth"], {"logit_growth": {"top": 80.0, "patience": 3.0}})
    assert rule == LogitGrowth(top=80.0, patience=3)
    assert isinstance(rule, Rule)
    with pytest.raises(ValueError, match="no rule 'entropy'"):
        make_rules(["entropy"])


def test_words() -> None:
    assert [figure(value) for value in (0.0312, 5.0, 128.4, 12480.0)] == [
        "0.0312",
        "5",
        "128",
        "12,480",
    ]
    assert heads_words((3,), 8) == "head 3"
    assert heads_words(range(8), 8) == "all 8 heads"
    assert heads_words(range(12), 16) == "heads 0, 1, 2, 3, 4, 5, 6, 7 and 4 more"
    assert RUN == ("", None)
    assert Past().count == 0
