"""What a timeline keeps of a long run, against NumPy over all of its captures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attnmon.link.records.alert import Alert
from attnmon_renderer.sinks import timeline_entries
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.sinks.timeline_entries import Entropies, TimelineEntries, TimelineEntry

CAPTURES = 2000


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline_entries, "MOST_ENTRIES", 50)


def numbers() -> NDArray[np.float64]:
    found = np.random.default_rng(0).random((CAPTURES, 4))
    found[100:300] = np.nan
    return found


def test_a_long_run_takes_no_more_room_and_no_extreme_is_lost() -> None:
    entries, entropies = TimelineEntries(), numbers()
    for step, heads in enumerate(entropies):
        known = not np.isnan(heads[0])
        three = (min(heads), max(heads), heads.mean()) if known else 3 * (np.nan,)
        entries.add(TimelineEntry(step, float(step), {"encoder 0 self": Entropies(*three)}))
    data = entries.data()
    ((name, shown),) = data.layers
    assert name == "encoder 0 self"
    assert 20 <= len(data.steps) <= 50
    ends = [*data.steps[1:], CAPTURES]
    for row, (first, end) in enumerate(zip(data.steps, ends, strict=True)):
        whole = entropies[first:end]
        if np.isnan(whole).all():
            assert np.isnan([shown.low[row], shown.high[row], shown.mean[row]]).all()
        else:
            assert (shown.low[row], shown.high[row]) == (np.nanmin(whole), np.nanmax(whole))
        assert data.losses[row] == pytest.approx((first + end - 1) / 2)
    assert (data.steps[0], data.steps[-1], data.losses[-1]) == (0, CAPTURES - 1, CAPTURES - 1)
    assert data.caption.run == "steps 0 to 1,999"


def test_a_step_that_is_captured_again_takes_the_place_of_the_first() -> None:
    entries = TimelineEntries()
    for loss in (1.0, 2.0):
        entries.add(TimelineEntry(7, loss, {"encoder 0 self": Entropies(0.1, 0.2, 0.15)}))
    data = entries.data()
    assert (list(data.steps), list(data.losses)) == ([7], [2.0])


def test_the_entries_of_a_history_are_those_of_captures_all_along_it(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    row = {"layer": 0, "type": "cross_attention", "heads": {"entropy": [0.25, None, 0.75]}}
    lines = (
        {"metadata": {"step": step, "loss": None}, "encoder": [], "decoder": [row]}
        for step in range(1000, 2000)
    )
    path.write_text("".join(to_json(line) + "\n" for line in lines))
    data = TimelineEntries.of_history(path, []).data()
    ((name, shown),) = data.layers
    assert name == "decoder 0 cross"
    assert (set(shown.low), set(shown.high)) == ({0.25}, {0.75})
    assert set(shown.mean) == {0.5}
    assert np.isnan(np.array(data.losses, float)).all()
    assert (data.steps[0], data.steps[-1]) == (1000, 1999)
    assert 25 <= len(data.steps) <= 50


def test_an_alert_is_a_stretch_for_each_severity_and_marks_the_rows_it_is_about() -> None:
    entries = TimelineEntries()
    names = ("encoder 0 self", "decoder 0 self", "decoder 1 self", "decoder 1 cross")
    for step in (0, 100):
        numbers = {name: Entropies(0.1, 0.2, 0.15) for name in names}
        entries.add(TimelineEntry(step, 1.0, numbers))
    layer = Alert("a", "logit_growth", "warn", "firing", 10, "decoder_self", 1)
    role = Alert("b", "future_leak", "error", "firing", 0, "decoder_self")
    run = Alert("c", "loss_spike", "warn", "firing", 60)
    later = replace(run, id="d", step=500)  # of a part of the run that was gone back from
    episodes = [
        [
            layer,
            replace(layer, step=40, severity="error"),
            replace(layer, step=70, state="resolved"),
        ],
        [role],
        [run],
        [later],
    ]
    spans = entries.data(episodes).alerts
    seen = [(span.severity, span.first, span.last, set(span.rows)) for span in spans]
    assert seen == [
        ("warn", 10, 40, {"decoder 1 self"}),
        ("error", 40, 70, {"decoder 1 self"}),
        ("error", 0, 100, {"decoder 0 self", "decoder 1 self"}),
        ("warn", 60, 100, {"loss"}),
    ]


def test_without_captures_there_are_no_entries(tmp_path: Path) -> None:
    assert not TimelineEntries.of_history(tmp_path / "history.jsonl", [])
