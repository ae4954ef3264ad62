"""`run.json` says what a run is: once, and again when it is resumed or shows another layer."""

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnmon.link.records.run_setup import Launch, RenderOptions, Setup
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.results import LayerResult, Results
from attnmon_renderer.sinks import run_json
from attnmon_renderer.sinks.run_json import RunDescription
from attnmon_renderer.storage.records import read_run_description

SETUP = Setup(
    "/runs", RenderOptions(("heatmap",)), 1 << 20, 1 << 10, 1, started=1_000_000_000.0,
    versions=(("torch", "2.13.0"),),
    launch=Launch(("python", "train.py"), "", '{"lr": 0.1}'),
)  # fmt: skip


def layer(number: int) -> LayerResult:
    statistics = LayerStatistics(0.1, 0.1, 0.0, 1.0, {}, 0.0, 0, 4)
    return LayerResult(
        "decoder", number, "self_attention", statistics, (2, 4, 5), f"layers.{number}", "softmax",
        (0, 1), "", None,
    )  # fmt: skip


def results(step: int, *layers: int) -> Results:
    return Results(f"step_{step}", step, 1.0, layers=[layer(number) for number in layers])


def written(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_it_says_what_the_run_is(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    RunDescription(path, SETUP).write(results(0, 0, 1))
    told = written(path)
    assert told["format"] == "attnmon-run 1"
    assert told["id"].startswith("20010909-014640-")
    assert (told["started"], told["config"]) == (SETUP.started, {"lr": 0.1})
    assert (told["command"], told["git"]) == (["python", "train.py"], None)
    assert (told["versions"], told["settings"]["pictures"]) == ({"torch": "2.13.0"}, ["heatmap"])
    assert (told["rank"], told["world_size"], told["resumed"]) == (0, 1, [])
    assert told["layers"][1] == {
        "role": "decoder_self", "layer": 1, "module": "layers.1", "source": "softmax", "heads": 2,
        "queries": 4, "keys": 5, "note": "",
    }  # fmt: skip
    assert told["probe"] is None
    assert read_run_description(path) == told


def test_it_is_written_again_for_another_layer_only(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    description = RunDescription(path, SETUP)
    description.write(results(0, 1))
    before = path.stat()
    description.write(results(1, 1))
    assert path.stat().st_ino == before.st_ino
    description.write(results(2, 0))
    assert [row["layer"] for row in written(path)["layers"]] == [0, 1]


def test_a_resumed_run_keeps_its_id_and_says_when(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    RunDescription(path, SETUP).write(results(0, 0))
    first = written(path)
    RunDescription(path, SETUP).write(results(5, 0))  # another recorder of the same training
    assert written(path) == first
    later = replace(SETUP, started=SETUP.started + 60)
    RunDescription(path, later).write(results(10, 0, 1))
    told = written(path)
    assert (told["id"], told["started"]) == (first["id"], first["started"])
    (resumed,) = told["resumed"]
    assert (resumed["started"], resumed["step"]) == (later.started, 10)
    assert [row["layer"] for row in told["layers"]] == [0, 1]


@pytest.mark.parametrize("damaged", ["", "{}", "[]", '{"id": 5}', "\x00" * 50])
def test_a_damaged_one_is_written_anew(damaged: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(damaged)
    RunDescription(path, SETUP).write(results(0, 0))
    assert written(path)["started"] == SETUP.started


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "train.py").write_text("1")
    for command in (["init"], ["add", "train.py"], ["commit", "-m", "first"]):
        git(folder, *command)
    return folder


def git(folder: Path, *command: str) -> str:
    who = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    ran = ["git", "-C", str(folder), *who, *command]
    return subprocess.run(ran, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(("content", "dirty"), [("1", False), ("2", True)])
def test_the_commit_and_whether_files_differ(
    content: str, dirty: bool, repository: Path, tmp_path: Path
) -> None:
    (repository / "train.py").write_text(content)
    (repository / "untracked.txt").write_text("")
    setup = replace(SETUP, launch=replace(SETUP.launch, directory=str(repository)))
    RunDescription(tmp_path / "run.json", setup).write(results(0, 0))
    commit = git(repository, "rev-parse", "HEAD")
    assert written(tmp_path / "run.json")["git"] == {"commit": commit, "dirty": dirty}


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.a=b.clean", "filter.x.process"])
def test_a_repository_s_settings_start_no_program(
    setting: str, repository: Path, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    (repository / ".gitattributes").write_text(f"*.py filter={setting.split('.')[1]}")
    (repository / "train.py").touch()
    git(repository, "config", setting, f"touch {started}; cat #")
    with suppress(subprocess.CalledProcessError):
        git(repository, "status", "--porcelain")
    assert started.exists(), "without care the program is started"
    started.unlink()
    (repository / "train.py").touch()
    setup = replace(SETUP, launch=replace(SETUP.launch, directory=str(repository)))
    RunDescription(tmp_path / "run.json", setup).write(results(0, 0))
    assert written(tmp_path / "run.json")["git"]["dirty"] is False
    assert not started.exists()


def test_git_that_does_not_answer_is_ended_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it has started: as on a disk that has gone away."""
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 600\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(run_json, "GIT_SECONDS", 0.1)
    setup = replace(SETUP, launch=replace(SETUP.launch, directory=str(tmp_path)))
    RunDescription(tmp_path / "run.json", setup).write(results(0, 0))
    assert written(tmp_path / "run.json")["git"] is None
