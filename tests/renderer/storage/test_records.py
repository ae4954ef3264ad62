"""The JSON of a run: what has the types that attnmon writes passes, and all else is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from attnmon_renderer.storage import json_fields, records, regular_files
from attnmon_renderer.storage.json_fields import Check, Misfit
from attnmon_renderer.storage.run_reader import runs_below

ROW = {"layer": 0, "type": "self_attention"}


def line(**changed: Any) -> dict[str, Any]:
    return {"metadata": {"step": 1}, "encoder": [ROW], "decoder": [], **changed}


@pytest.mark.parametrize(
    ("check", "passes", "refused"),
    [
        (json_fields.whole, [0, -5, (1 << 63) - 1], [True, 1.0, "1", None, 1 << 63]),
        (json_fields.count, [0, 7], [-1]),
        (json_fields.number, [0, -2.5, 3e38], [float("inf"), True, 10**400, "1", []]),
        (json_fields.moment, [0.0, 1.8e9], [-1, 1e12]),
        (json_fields.text, ["", "ä"], [1, None, []]),
        (json_fields.maybe(json_fields.whole), [None, 1], [1.5]),
        (json_fields.listed(json_fields.whole, 2), [[], [1, 2]], [[1, 2, 3], ["1"], {}]),
        (json_fields.named(json_fields.whole), [{}, {"a": 1}], [{"a": "1"}, []]),
        (json_fields.scalars, [None, True, "a", [1, "b"]], [{}, [[1]]]),
        (json_fields.one_of("a", "b"), ["a"], ["c", 1]),
    ],
)
def test_a_check_lets_one_kind_of_value_pass(
    check: Check, passes: list[Any], refused: list[Any]
) -> None:
    assert [check(value) for value in passes] == passes
    for value in refused:
        with pytest.raises(Misfit):
            check(value)


def test_text_can_always_be_encoded() -> None:
    assert json_fields.text("a\ud800b") == "a?b"


def test_what_is_no_json_is_one_kind_of_error() -> None:
    for text in ("[" * 100_000, "", "{", "1" * 5000 + "x"):
        with pytest.raises(ValueError):  # noqa: PT011  # json's own words
            json_fields.parse(text)
    assert json_fields.parse("[NaN, Infinity]") == [None, None]
    assert json_fields.parse("1" + "0" * 400) == float("inf")


def test_a_summary_is_read_without_what_does_not_belong(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    given = {"state": "closed", "captured": "many", "pids": [1], "unknown": {}, "new": 7}
    path.write_text(json.dumps(given))
    fields, damages = records.read_summary(path)
    assert fields == {"state": "closed", "pids": [1], "new": 7}
    assert damages == (f"{path}: 'captured' is left out: it is not a whole number",)
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a summary"):
        records.read_summary(path)


def test_the_last_whole_line_is_the_last_capture(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert records.last_capture(path) is None
    path.write_text(json.dumps(line()) + '\n{"metadata": {"st')
    assert records.last_capture(path) == line()


def test_runs_below_are_not_looked_for_in_the_captures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rank_1", "step_5", "epoch_1_step_6", "step_by_step"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text("{}")
    looked_at = []

    def noted(path: Path) -> bool:
        looked_at.append(path.parent.name)
        return True

    monkeypatch.setattr(regular_files, "exists", noted)
    assert runs_below(tmp_path) == [tmp_path / "rank_1", tmp_path / "step_by_step"]
    assert sorted(looked_at) == ["rank_1", "step_by_step"]
