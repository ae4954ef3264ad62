"""Runs come and go below the directories that were given, and keep their keys."""

import threading
from pathlib import Path

import pytest
from support.maps import random_weights, write_run

from attnmon_renderer.view.runs import run_index
from attnmon_renderer.view.runs.run_index import RunIndex

LAYERS = {"decoder_layer0_self_attn": random_weights(1, 3, 3)}


def test_runs_come_and_go_and_keep_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "DISCOVERY_SECONDS", 0.0)
    monkeypatch.setattr(run_index, "SHARE_OF_TIME", 1e9)
    index = RunIndex([tmp_path])
    assert index.runs() == {}
    first = write_run(tmp_path / "a", {0: LAYERS})
    [key] = index.runs()
    source = index.runs()[key]
    write_run(tmp_path / "deep" / "b", {0: LAYERS})
    assert {index.title(run) for run in index.runs().values()} == {"a", "deep/b"}
    assert index.runs()[key] is source, "what is known of it stays"
    (first / "summary.json").unlink()
    assert key not in index.runs()
    assert key in RunIndex([write_run(tmp_path / "a", {0: LAYERS})]).runs()


def test_titles_tell_runs_of_several_directories_apart(tmp_path: Path) -> None:
    for name in ("x/run", "y/run", "z"):
        write_run(tmp_path / name, {0: LAYERS})
    index = RunIndex([tmp_path / "x", tmp_path / "y", tmp_path / "z"])
    assert [index.title(run) for run in index.runs().values()] == ["x/run", "y/run", "z"]


def test_who_asks_while_a_large_tree_is_searched_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_index, "DISCOVERY_SECONDS", 0.0)
    write_run(tmp_path / "run", {0: LAYERS})
    index = RunIndex([tmp_path])
    before = index.runs()
    searching, found = threading.Event(), threading.Event()

    def find_slowly(folder: Path) -> list[Path]:
        searching.set()
        assert found.wait(30)
        return []

    monkeypatch.setattr(run_index, "find_runs", find_slowly)
    index._next_look = 1e-9
    search = threading.Thread(target=index.runs)
    search.start()
    assert searching.wait(30)
    assert index.runs() == before
    found.set()
    search.join()
    assert index.runs() == {}
