"""What is told of captures at a glance, against what their lines say when they are decoded."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from attnmon_renderer.report.capture_facts import CaptureFacts, scan_history
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.storage.history_reader import HistoryFile


def line(step: int, loss: float | None = 0.5, **values: Any) -> dict[str, Any]:
    """Return a capture with the keys of `statistics.json`, in their order."""
    metadata = {"step": step, "epoch": None, "loss": loss, "timestamp": 1.5, "lr": 1e-5}
    heads = {"entropy": [0.5], "max_logit": values.pop("max_logit", [3.25, 1.0000000123])}
    row = {"layer": 0, "type": "self_attention", "heads": heads, "non_finite": 0, "name": "m"}
    return {"metadata": metadata, "encoder": [{**row, **values}], "decoder": [row]}


def scanned(tmp_path: Path, *lines: str) -> tuple[list[CaptureFacts], list[str]]:
    path = tmp_path / "history.jsonl"
    path.write_text("\n".join(lines) + "\n")
    damages: list[str] = []
    with HistoryFile(path, damages) as file:
        return scan_history(file), damages


@pytest.mark.parametrize("indent", [None, 0], ids=["as written", "written otherwise"])
@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"loss": None}, False),
        ({"loss": math.nan}, False),
        ({"name": '"loss": null, "error": "x"'}, True),
    ],
)
def test_a_glance_tells_what_a_line_says(
    changed: dict[str, Any], expected: bool, indent: int | None, tmp_path: Path
) -> None:
    text = to_json(line(7, **changed), indent=indent).replace("\n", " ")
    (facts,), damages = scanned(tmp_path, text)
    assert (facts.has_loss, facts.step, facts.error, damages) == (expected, 7, "", [])


def test_of_a_step_that_was_captured_again_the_last_counts(tmp_path: Path) -> None:
    lines = line(10), line(20), {**line(10, None), "error": "no room"}
    facts, _ = scanned(tmp_path, *map(to_json, lines))
    assert [(each.step, each.has_loss, each.error) for each in facts] == [
        (10, False, "no room"),
        (20, True, ""),
    ]


def test_lines_that_are_no_captures_are_counted(tmp_path: Path) -> None:
    whole = to_json(line(1))
    odd = whole.replace('"step": 1', '"step": "1"')
    facts, damages = scanned(tmp_path, whole[:-40], odd, json.dumps([1]), to_json(line(2)))
    assert [each.step for each in facts] == [2]
    assert "3 lines are left out" in damages[0]
