"""`alerts.jsonl`: what was written is read, and of what anybody else wrote nothing harmful."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from attnmon.link.records.alert import Alert
from attnmon.link.records.schema import MessageError
from attnmon_renderer import process_messages
from attnmon_renderer.insight.alert_log import (
    append_alerts,
    read_alert,
    read_alerts,
    read_episodes,
)
from attnmon_renderer.process_messages import ResultsWritten
from attnmon_renderer.storage.regular_files import NotRegular

FIRST = Alert(
    id="logit_growth-decoder_self-2-120",
    rule="logit_growth",
    severity="warn",
    state="firing",
    step=120,
    role="decoder_self",
    layer=2,
    heads=(1, 3),
    value=212.5,
    threshold=50.0,
    text="Its largest logit is 212, four times that of step 20.",
    advice="Lower the learning rate of Q and K.",
    pictures=("step_120/decoder_layer2_self_attn_heads.png", "timeline.png"),
)


def test_each_alert_is_read_in_its_last_state_with_all_its_changes(tmp_path: Path) -> None:
    worse = replace(FIRST, severity="error", step=130)
    over = replace(worse, state="resolved", step=200)
    other = Alert("loss_spike-90", "loss_spike", "warn", "firing", 90, value=float("nan"))
    append_alerts(tmp_path, [FIRST])
    append_alerts(tmp_path, [other, worse])
    append_alerts(tmp_path, [over])
    assert read_alerts(tmp_path) == [over, replace(other, value=None)]
    assert read_episodes(tmp_path)[0] == [FIRST, worse, over]
    assert [alert.is_open for alert in read_alerts(tmp_path)] == [False, True]


def test_the_keys_are_those_that_are_documented(tmp_path: Path) -> None:
    append_alerts(tmp_path, [FIRST])
    line = json.loads((tmp_path / "alerts.jsonl").read_text())
    assert list(line) == [
        "id", "rule", "severity", "state", "step", "role", "layer", "heads", "value",
        "threshold", "text", "try", "pictures",
    ]  # fmt: skip
    assert line["try"] == FIRST.advice


def test_a_line_that_was_cut_short_is_ended_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "alerts.jsonl").write_bytes(b'{"id": "x", "ru')
    append_alerts(tmp_path, [FIRST])
    assert read_alerts(tmp_path) == [FIRST]


@pytest.mark.parametrize(
    "changed",
    [
        {"step": "120"}, {"step": 1 << 70}, {"severity": "fatal"}, {"state": ["firing"]},
        {"heads": ["0"]}, {"heads": [0] * 5000}, {"value": "high"}, {"text": "x" * 2000},
        {"pictures": ["../secret.png"]}, {"pictures": ["/etc/passwd"]},
        {"pictures": ["step_1/<script>.png"]}, {"id": None}, {"layer": True},
    ],
)  # fmt: skip
def test_a_line_of_another_kind_is_left_out(changed: dict[str, object], tmp_path: Path) -> None:
    lines = [json.dumps(FIRST.fields() | changed), "[" * 50_000, "", "7", json.dumps([1])]
    (tmp_path / "alerts.jsonl").write_text("\n".join(lines))
    assert read_alerts(tmp_path) == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    append_alerts(elsewhere, [FIRST])
    run = tmp_path / "run"
    run.mkdir()
    os.symlink(elsewhere / "alerts.jsonl", run / "alerts.jsonl")
    assert read_alerts(run) == []
    with pytest.raises(NotRegular):
        append_alerts(run, [FIRST])
    assert read_alerts(tmp_path / "nowhere") == []


def test_an_alert_is_bounded() -> None:
    with pytest.raises(MessageError):
        replace(FIRST, text="x" * 5000)


def test_an_alert_of_a_count_travels_between_processes() -> None:
    """A whole number would be refused on receipt, and the renderer would be lost."""
    counted = Alert("a", "nonfinite", "error", "firing", 0, value=264, threshold=0)
    written = ResultsWritten(1, alerts=(counted,))
    assert process_messages.decode(process_messages.encode(written)) == written
    read = read_alert(json.dumps(counted.fields()).replace("264.0", "264").encode())
    assert read is not None
    assert type(read.value) is float
