"""A history of any length: what is whole is read, what is not is told, and much is thinned out."""

import json
from pathlib import Path
from typing import Any

import pytest

from attnmon_renderer.storage import history_reader
from attnmon_renderer.storage.history_reader import HistoryFile

ROW = {"layer": 0, "type": "self_attention"}


def line(step: int = 1, **changed: Any) -> dict[str, Any]:
    return {"metadata": {"step": step}, "encoder": [ROW], "decoder": [], **changed}


def captures(path: Path, most: int = 100) -> tuple[list[dict[str, Any]], list[str]]:
    damages: list[str] = []
    with HistoryFile(path, damages) as file:
        return list(file.captures(most)), damages


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.jsonl"


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": 3}, {"metadata": {}}, {"metadata": {"step": [1]}}, {"encoder": None},
        {"encoder": [{"layer": 0}]}, {"encoder": [{**ROW, "heads": {"entropy": ["x"]}}]},
        {"decoder": [{**ROW, "type": "other"}]}, {"metadata": {"step": 1, "loss": "x"}},
    ],
)  # fmt: skip
def test_a_line_of_another_kind_is_left_out(changed: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(line(**changed)) + "\n" + json.dumps(line()) + "\n")
    found, damages = captures(path)
    assert found == [line()]
    assert "1 line is left out: torn, or no capture" in damages[0]


def test_a_history_that_is_not_there_is_empty(path: Path) -> None:
    assert captures(path) == ([], [])
    path.mkdir()
    found, damages = captures(path)
    assert found == []
    assert "is left out" in damages[0]


def test_a_line_longer_than_any_capture_is_passed_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_reader, "LONGEST_LINE", 100)
    path.write_text("x" * 1000 + "\n" + json.dumps(line()) + "\n" + "y" * 250)
    found, damages = captures(path)
    assert found == [line()]
    assert "2 lines" in damages[0]


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 25, 1000])
@pytest.mark.parametrize("end", ["\n", "", "\n\n"])
def test_of_many_captures_some_are_read_the_first_and_the_last_with_them(
    count: int, end: str, path: Path
) -> None:
    path.write_text("\n".join(json.dumps(line(step)) for step in range(10, 10 + count)) + end)
    found, damages = captures(path, most=10)
    steps = [capture["metadata"]["step"] for capture in found]
    assert not damages
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (10, 9 + count)
    assert min(count, 9) <= len(steps) <= 12


def test_of_a_history_that_is_too_long_the_end_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "".join(json.dumps(line(step)) + "\n" for step in range(100, 200))
    path.write_text(whole)
    monkeypatch.setattr(history_reader, "MOST_HISTORY_BYTES", len(whole) // 2)
    found, damages = captures(path, most=1000)
    assert [capture["metadata"]["step"] for capture in found] == list(range(150, 200))
    assert "first" in damages[0]


def test_a_place_leads_back_to_its_line(path: Path) -> None:
    path.write_text("".join(json.dumps(line(step)) + "\n" for step in (5, 123, 7)) + "{torn")
    with HistoryFile(path, []) as file:
        places = [each.place for each in file.lines()]
        assert [file.read(place) for place in places] == [line(5), line(123), line(7), None]
