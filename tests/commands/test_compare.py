"""`attnmon compare`: what it prints, and its exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.compared_runs import write_wandering
from support.outputs import strict_json

from attnmon_renderer.commands import main
from attnmon_renderer.compare import verdicts


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, the same once more, one that differs, and one of another text; to be read only."""
    folder = tmp_path_factory.mktemp("runs")
    write_wandering(folder / "first", 1, config={"lr": 0.1})
    write_wandering(folder / "again", 1, config={"lr": 0.1})
    write_wandering(folder / "sharp", 2, 2.0, config={"lr": 1.0})
    write_wandering(folder / "text", 2, tokens={"decoder": ["other"] * 24})
    return folder


@pytest.mark.parametrize(
    ("other", "options", "code", "verdict"),
    [
        ("again", [], 0, verdicts.IDENTICAL),
        ("again", ["--fail-above", "0"], 0, verdicts.IDENTICAL),
        ("sharp", [], 0, verdicts.DIFFERS),
        ("sharp", ["--fail-above", "1000"], 0, verdicts.DIFFERS),
        ("sharp", ["--fail-above", "1"], 1, verdicts.DIFFERS),
        ("sharp", ["--align", "end", "--at", "100"], 0, verdicts.DIFFERS),
        ("text", ["--fail-above", "1"], 2, verdicts.NOT_COMPARABLE),
    ],
)
def test_the_verdict_comes_first_and_the_exit_code_follows_it(
    other: str,
    options: list[str],
    code: int,
    verdict: str,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["compare", str(runs / "first"), str(runs / other), *options]
    assert main(arguments) == code
    assert capsys.readouterr().out.startswith(f"{verdict}: ")
    assert main([*arguments, "--json"]) == code
    assert strict_json(capsys.readouterr().out)["verdict"] == verdict


def test_it_tells_the_settings_the_numbers_and_the_maps(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", str(runs / "first"), str(runs / "sharp")])
    said = capsys.readouterr().out
    assert "  config.lr  0.1  1.0\n" in said
    assert "20 numbers differ, B − A, in wobbles of a run" in said
    assert "compared at step 1,100" in said
    assert "maps: heads of the same number are 0." in said
    main(["compare", str(runs / "first"), str(runs / "again")])
    said = capsys.readouterr().out
    assert "no setting differs" in said
    assert "20 numbers, and none differs" in said


def test_groups_are_given_by_two_lists(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = ["--group", str(runs / "first"), "--group", str(runs / "sharp")]
    assert main(["compare", *groups]) == 2
    assert "1 against 1 runs are too few" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given", [["first"], ["first", "--group", "again"], ["first", "nowhere"], ["first"] * 3]
)
def test_what_cannot_be_meant_is_refused(
    given: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [each if each.startswith("-") else str(runs / each) for each in given]
    assert main(["compare", *arguments]) == 2
    assert "attnmon compare: " in capsys.readouterr().err


def test_what_a_run_says_cannot_control_the_terminal(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_wandering(tmp_path / "other", 2, config={"\x1b[2J": "\x1b]0;title\x07"})
    assert main(["compare", str(runs / "first"), str(other)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_reader_that_has_had_enough_is_no_error(runs: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "attnmon", "compare", runs / "first", runs / "sharp", "--json"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=100)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_the_json_has_the_keys_that_scripts_rely_on(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["compare", str(runs / "first"), str(runs / "sharp"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found.keys() >= {"comparable", "why", "settings", "verdict", "layers", "matching"}
    assert found["settings"] == {"config.lr": [0.1, 1.0]}
    row = found["layers"][0]
    assert row.keys() >= {"role", "layer", "head", "statistic", "a", "b", "delta"}
