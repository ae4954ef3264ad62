"""From pending to firing to resolved, and on from what was recorded."""

from typing import Any

from support.captures import capture, changes, engine, layer, record

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.judging.capture_record import CaptureRecord, record_of

SICK = {"entropy": 0.03, "coverage": 0.1, "max_logit": 60.0}
NEAR = {"entropy": 0.11, "coverage": 0.1, "max_logit": 60.0}
NAME = "attention_collapse"


def run_of(*kinds: Any, first: int = 0) -> list[CaptureRecord]:
    return [record(first + n, layer(**(kind or {}))) for n, kind in enumerate(kinds)]


def test_it_must_hold_twice_in_a_row() -> None:
    assert changes(engine(NAME), run_of(SICK, None, SICK, None)) == []
    assert changes(engine(NAME), run_of(SICK, SICK)) == [("warn", "firing", 1)]


def test_it_is_over_after_five_captures_well_below_the_threshold() -> None:
    judge = engine(NAME)
    assert changes(judge, run_of(SICK, SICK, *[NEAR] * 20)) == [("warn", "firing", 1)]
    assert changes(judge, run_of(*[None] * 4, SICK, *[None] * 4, first=22)) == []
    assert len(judge.open_alerts) == 1
    assert changes(judge, run_of(None, first=31)) == [("warn", "resolved", 31)]
    assert judge.open_alerts == []


def test_an_episode_keeps_its_id_and_the_next_gets_another() -> None:
    judge = engine(NAME)
    records = run_of(SICK, SICK, *[None] * 5, SICK, SICK)
    alerts = [change.alert for each in records for change in judge.observe(each)]
    assert [alert.id for alert in alerts] == [
        "attention_collapse-decoder_self-0-1",
        "attention_collapse-decoder_self-0-1",
        "attention_collapse-decoder_self-0-8",
    ]
    assert alerts[1].text.startswith("It is over since step 6. It was: In layer 0")


def test_the_heads_of_a_layer_are_one_alert_and_layers_are_several() -> None:
    judge = engine(NAME)
    both = [record(n, layer(0, **SICK), layer(1, **SICK), layer(2)) for n in range(3)]
    alerts = [change.alert for each in both for change in judge.observe(each)]
    assert [(alert.layer, alert.heads) for alert in alerts] == [
        (0, (0, 1, 2, 3)),
        (1, (0, 1, 2, 3)),
    ]


def test_kept_captures_change_nothing() -> None:
    kept = [record_of(capture(n, layer(**SICK), kept_for="the loss is nan")) for n in range(9)]
    assert changes(engine(NAME), kept) == []


def test_a_resumed_training_forgets_what_it_repeats() -> None:
    judge = engine("logit_growth")
    high = [record(n, layer(max_logit=90.0)) for n in range(20)]
    changes(judge, high)
    again = [record(n, layer(max_logit=90.0)) for n in range(12, 30)]
    assert changes(judge, again) == []


def test_a_layer_that_is_not_captured_any_more_clears() -> None:
    judge = engine(NAME)
    changes(judge, run_of(SICK, SICK))
    others = [record(n, layer(7)) for n in range(2, 7)]
    assert changes(judge, others) == [("warn", "resolved", 6)]


def test_a_layer_of_nans_is_no_recovery() -> None:
    judge = engine(NAME)
    changes(judge, run_of(SICK, SICK))
    broken = layer(row={"non_finite": 9}, entropy=None, coverage=None)
    assert changes(judge, [record(n, broken) for n in range(2, 20)]) == []
    assert len(judge.open_alerts) == 1
    assert changes(judge, run_of(*[None] * 5, first=20)) == [("warn", "resolved", 24)]


def restored(records: list[CaptureRecord], alerts: list[Alert]) -> Any:
    judge = engine(NAME)
    judge.restore(records, alerts)
    return judge


def test_it_goes_on_after_a_restart_as_if_there_had_been_none() -> None:
    records = run_of(None, SICK, SICK, SICK, *[None] * 7, SICK, SICK, *[None] * 3)
    whole = engine(NAME)
    expected = [change.alert for each in records for change in whole.observe(each)]
    for cut in range(len(records)):
        before = engine(NAME)
        told = [change.alert for each in records[:cut] for change in before.observe(each)]
        after = restored(records[:cut], list({alert.id: alert for alert in told}.values()))
        told += [change.alert for each in records[cut:] for change in after.observe(each)]
        assert told == expected, cut


def test_what_was_found_but_not_told_is_told_after_the_restart() -> None:
    judge = restored(run_of(SICK, SICK), [])
    assert changes(judge, run_of(SICK, SICK, first=2)) == [("warn", "firing", 3)]


def test_an_open_alert_of_which_the_history_says_nothing_is_open() -> None:
    told = Alert("a", NAME, "warn", "firing", 3, "decoder_self", 0, text="It was so.")
    judge = restored([], [told])
    assert judge.open_alerts == [told]
    assert changes(judge, run_of(*[None] * 5, first=10)) == [("warn", "resolved", 14)]
    unknown = Alert("b", "a rule of later", "warn", "firing", 3)
    assert restored([], [unknown]).open_alerts == []
