"""The words, numbers and alerts of a report, from made-up histories and summaries."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnmon.link.records.alert import Alert
from attnmon_renderer.report import tables
from attnmon_renderer.report.alerts import MOST_ALERTS, find_alerts
from attnmon_renderer.report.capture_facts import facts_of
from attnmon_renderer.report.gather import ReportData
from attnmon_renderer.report.history_rows import head_values, known, layer_rows, mean
from attnmon_renderer.storage.run_reader import Run


def row(**values: Any) -> dict[str, Any]:
    return {"layer": 0, "type": "self_attention", "shape": [2, 3, 4], "name": "m", **values}


def line(step: int, loss: float | None = 1.0, **values: Any) -> dict[str, Any]:
    metadata = {"step": step, "loss": loss, "epoch": None}
    return {"metadata": metadata, "encoder": [row(**values)], "decoder": [row()]}


def data_of(*history: dict[str, Any], **summary: Any) -> ReportData:
    run = Run(Path("run"), {"state": "closed", **summary}, None)
    return ReportData(run, list(history), [facts_of(line) for line in history], [], 0, 0)


def test_numbers_that_are_missing_are_left_out() -> None:
    assert head_values(row(heads={"entropy": [0.5, None]}), "entropy") == [0.5]
    assert head_values(row(heads=None), "entropy") == head_values(row(), "entropy") == []
    assert known([None, 0.0]) == [0.0]
    assert mean([1.0, 2.0]) == 1.5
    assert mean([]) is None
    assert [r["layer"] for r in layer_rows(line(0))] == [0, 0]


def test_a_table_row_has_each_layer_s_means_and_its_largest_logit() -> None:
    heads = {"entropy": [0.25, 0.75], "max_logit": [3.0, None, 7.0], "first_token": [None]}
    heading, rows = tables.statistics_table(line(0, heads=heads, mean=0.123456))
    first, second = (dict(zip(heading, cells, strict=True)) for cells in rows)
    assert first["layer"] == "encoder 0 self"
    assert first["heads, queries, keys"] == "2 × 3 × 4"
    assert (first["mean"], first["entropy"], first["largest logit"]) == ("0.123", "0.5", "7")
    assert first["first token"] == second["entropy"] == second["note"] == "–"
    assert second["layer"] == "decoder 0 self"


@pytest.mark.parametrize(
    ("losses", "expected"), [([2.0, 1.0], "loss 2 → 1"), ([2.0, None], "loss 2 → 2, then none")]
)
def test_the_headline_has_the_first_and_the_last_loss(
    losses: list[float | None], expected: str
) -> None:
    data = data_of(*(line(n, loss) for n, loss in enumerate(losses)), steps=1200, captured=2)
    assert tables.headline(data) == f"1,200 steps · {expected} · 2 captures · closed"


def test_a_step_s_label_has_what_is_known() -> None:
    assert tables.step_label(1200, {}) == "step 1,200"
    whole = {"epoch": 3, "loss": 0.1234567}
    assert tables.step_label(1200, whole) == "step 1,200 · epoch 3 · loss 0.1235"


def test_facts_that_a_summary_does_not_tell_are_left_out() -> None:
    facts = tables.run_facts(data_of())
    assert facts["accounts"] == "? captured, ? rendered, ? dropped, ? failed"
    assert not {"started", "length", "time in attnmon's calls"} & facts.keys()


def test_a_run_without_trouble_has_no_alert() -> None:
    assert find_alerts(data_of(line(0), line(1), failed=0, dropped=0)) == []


def test_alerts_of_the_rules_come_first_and_those_that_are_open_before_the_others() -> None:
    over = Alert("a", "nonfinite", "error", "resolved", 5, text="It was NaN.")
    minor = Alert("b", "scale_odd", "info", "firing", 6, text="It is odd.", advice="Nothing.")
    worse = Alert("c", "logit_growth", "warn", "firing", 7, text="It grew.", advice="Stop.")
    data = replace(data_of(line(0), line(20, None), failed=1), alerts=[over, minor, worse])
    *of_rules, failed, end = find_alerts(data)
    assert of_rules == [
        "Step 7, warn: It grew. Stop.",
        "Step 6, info: It is odd. Nothing.",
        "Step 5, error: It was NaN. ",
    ]
    assert failed.startswith("1 of")
    assert "From step 20 on there is no loss" in end


def test_many_alerts_are_counted() -> None:
    found = find_alerts(data_of(line(0), errors=[f"error {n}" for n in range(MOST_ALERTS + 3)]))
    assert len(found) == MOST_ALERTS + 1
    assert found[-1] == "and 3 more"
