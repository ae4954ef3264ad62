"""Alerts of a run that is recorded: across recorders, and with the pictures to look at."""

import json
import zipfile
from pathlib import Path
from typing import Any

from support.captures import capture, layer

from attnmon_renderer.insight.alert_log import read_alerts, read_episodes
from attnmon_renderer.insight.alert_pictures import find_pictures
from attnmon_renderer.insight.rule_table import make_rules
from attnmon_renderer.insight.run_alerts import RunAlerts

SICK = {"entropy": 0.03, "coverage": 0.1, "max_logit": 60.0}
RULES = make_rules(["attention_collapse", "nonfinite"])


def record(run: Path, captures: list[dict[str, Any]], recorder: RunAlerts | None = None) -> Any:
    """Records captures as a recorder does, and returns it."""
    recorder = recorder or RunAlerts(run, RULES)
    for each in captures:
        with (run / "history.jsonl").open("a") as file:
            file.write(json.dumps(each) + "\n")
        recorder.judge(each, f"step_{each['metadata']['step']}")
    return recorder


def episodes(run: Path) -> list[list[tuple[str, int]]]:
    return [[(each.state, each.step) for each in episode] for episode in read_episodes(run)]


def test_recorders_that_follow_each_other_tell_the_same_as_one(tmp_path: Path) -> None:
    kinds = [None, SICK, SICK, None, SICK, *[None] * 6, SICK, SICK]
    captures = [capture(step, layer(**(kind or {}))) for step, kind in enumerate(kinds)]
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    record(one, captures)
    for each in captures:
        record(many, [each])
    assert episodes(one) == episodes(many) == [[("firing", 2), ("resolved", 9)], [("firing", 12)]]
    assert read_alerts(one) == read_alerts(many)


def test_a_capture_that_is_recorded_again_is_judged_once(tmp_path: Path) -> None:
    first = capture(0, layer(**SICK))
    record(tmp_path, [first])
    again = RunAlerts(tmp_path, RULES)
    again.judge(first, "step_0")
    assert read_alerts(tmp_path) == []
    again.judge(capture(1, layer(**SICK)), "step_1")
    assert episodes(tmp_path) == [[("firing", 1)]]


def test_a_damaged_history_costs_nothing_but_itself(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_bytes(b'\xff{"metadata"\n[[[[\n')
    (tmp_path / "alerts.jsonl").mkdir()
    recorder = RunAlerts(tmp_path, RULES)
    assert recorder.judge(capture(0), "step_0") == []
    assert recorder.open_alerts == []


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_pictures_of_the_place_are_found_the_best_first(tmp_path: Path) -> None:
    touch(tmp_path, "timeline.png")
    touch(
        tmp_path / "step_5",
        "decoder_layer2_self_attn.svg", "decoder_layer2_self_attn_heads.png",
        "decoder_layer0_cross_attn.png", "decoder_self_head_matrix.png", "secret.png",
    )  # fmt: skip
    kinds = ("timeline", "head_matrix", "multi_head", "heatmap")
    place = ("decoder_self", 2)
    assert find_pictures(tmp_path, "step_5", kinds, place) == (
        "timeline.png",
        "step_5/decoder_self_head_matrix.png",
        "step_5/decoder_layer2_self_attn_heads.png",
    )
    assert find_pictures(tmp_path, "step_5", ("heatmap",), place) == (
        "step_5/decoder_layer2_self_attn.svg",
    )
    of_role = find_pictures(tmp_path, "step_5", ("heatmap",), ("decoder_cross", None))
    assert of_role == ("step_5/decoder_layer0_cross_attn.png",)
    assert find_pictures(tmp_path, "step_5", ("heatmap",), ("", None)) == of_role
    assert find_pictures(tmp_path, "step_6", kinds[1:], place) == ()


def test_pictures_in_a_packed_step_are_found(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "step_5.zip", "w") as file:
        file.writestr("encoder_layer0_self_attn.png", b"")
    assert find_pictures(tmp_path, "step_5", ("heatmap",), ("encoder_self", 0)) == (
        "step_5.zip/encoder_layer0_self_attn.png",
    )
