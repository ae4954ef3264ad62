"""The code in the recipes and in the Chinese pages runs as written, and does what is said of it."""

import json
import stat
from pathlib import Path

import pytest
from support.snippets import STEPS, Snippet, run, snippets

RECIPES = list(snippets("recipes.md"))
CHINESE = [*snippets("zh/guide.md"), *snippets("zh/quick-reference.md")]
TRIED_ELSEWHERE = {snippet.code for snippet in snippets("guide.md")}
"""What other pages have word for word; the trainers' have their own tests."""
ALONE = [each for each in (*RECIPES, *CHINESE) if each.code not in TRIED_ELSEWHERE]


def accounts(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("summary.json"))]


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("snippet", ALONE, ids=lambda each: f"{each.page}: {each.heading}")
def test_it_runs_as_written_and_draws_what_it_captures(snippet: Snippet, in_folder: Path) -> None:
    run(snippet, in_folder)
    runs = accounts(in_folder)
    assert len(runs) == snippet.code.count("AttentionMonitor(")
    for each in runs:
        assert each["steps"] == STEPS
        assert each["state"] == "closed"
        assert each["captured"] == each["rendered"]
        assert each["captured"] == 1, "the first step alone is due"
        assert each["errors"] == []
        assert each["warnings"] == []
    check = CHECKS.get(snippet.heading)
    if check is not None:
        check(in_folder)


def is_four_heads_of_three_layers(folder: Path) -> None:
    [line] = (folder / "attn_logs" / "history.jsonl").read_text().splitlines()
    layers = json.loads(line)["decoder"]
    assert [(layer["layer"], layer["head_indices"]) for layer in layers] == [
        (layer, [0, 8, 16, 24]) for layer in (0, 15, 16)
    ]


def has_a_file_a_capture_and_four(folder: Path) -> None:
    logs = folder / "attn_logs"
    found = sorted(path.name for path in logs.rglob("*") if path.is_file())
    assert len(found) == 1 + 4
    assert {"history.jsonl", "run.json", "step_0.zip", "summary.json"} < set(found)


def is_numbers_for_its_owner_only(folder: Path) -> None:
    files = [path for path in (folder / "attn_logs").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"history.jsonl", "run.json", "summary.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def has_overlays_and_a_class_token(folder: Path) -> None:
    logs = folder / "attn_logs"
    for name in ("encoder_layer0_self_attn_overlay", "encoder_rollout_overlay"):
        assert (logs / "step_0" / f"{name}.png").is_file()
    layers = json.loads((logs / "step_0" / "statistics.json").read_text())["encoder"]
    assert [layer["shape"] for layer in layers] == 2 * [[2, 5, 5]]


CHECKS = {
    "Eight GPUs and seven billion parameters": is_four_heads_of_three_layers,
    "A vision model": has_overlays_and_a_class_token,
    "A shared cluster with a limit on files": has_a_file_a_capture_and_four,
    "Text that must not leave the machine": is_numbers_for_its_owner_only,
}


def test_there_are_seven_recipes_and_each_says_what_it_costs() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "recipes.md").read_text()
    sections = text.split("\n## ")[1:]
    assert len(sections) == len(RECIPES) == 7
    assert all("**What it costs.**" in section for section in sections)
    assert CHECKS.keys() <= {recipe.heading for recipe in RECIPES}
