"""`attnmon export`: a row for each head of each capture of each run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from support.maps import random_weights, write_run

from attnmon_renderer.commands import main

STEM = "decoder_layer0_self_attn"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, lr in (("a", 0.1), ("b", 0.2)):
        weights = {step: {STEM: random_weights(3, 4, 4)} for step in (0, 10)}
        write_run(tmp_path / "runs" / name, weights, config={"lr": lr})
    return tmp_path / "runs"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_holds_what_the_history_does(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "heads.csv"
    assert main(["export", str(runs), "--format", "csv", "-o", str(out)]) == 0
    table = rows(out)
    assert len(table) == 2 * 2 * 3
    for row in table:
        history = Path(row["directory"], "history.jsonl").read_text().splitlines()
        captures = {line["metadata"]["step"]: line for line in map(json.loads, history)}
        capture = captures[int(row["step"])]
        (layer,) = capture["decoder"]
        assert (row["role"], row["layer"]) == ("decoder_self", "0")
        assert float(row["entropy"]) == layer["heads"]["entropy"][int(row["head"])]
        assert float(row["loss"]) == capture["metadata"]["loss"]
    assert {json.loads(row["config"])["lr"] for row in table} == {0.1, 0.2}


def test_parquet_holds_the_same(runs: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    main(["export", str(runs), "--format", "csv", "-o", str(tmp_path / "heads.csv")])
    assert main(["export", str(runs), "-o", str(tmp_path / "heads.parquet")]) == 0
    ours = parquet.read_table(tmp_path / "heads.parquet").to_pylist()
    theirs = rows(tmp_path / "heads.csv")
    assert np.allclose([row["entropy"] for row in ours], [float(row["entropy"]) for row in theirs])
    assert [row["run"] for row in ours] == [row["run"] for row in theirs]


def test_damaged_lines_are_left_out(runs: Path, tmp_path: Path) -> None:
    with (runs / "a" / "history.jsonl").open("a") as file:
        file.write('{"metadata": {"step": 20}, "decoder": [{"layer": 0')
    out = tmp_path / "heads.csv"
    assert main(["export", str(runs / "a"), "--format", "csv", "-o", str(out)]) == 0
    assert len(rows(out)) == 2 * 3


@pytest.mark.parametrize("given", ["empty", "nowhere"])
def test_no_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["export", str(tmp_path / given), "--format", "csv"]) == 2
    assert "no run in" in capsys.readouterr().err


def test_what_is_missing_for_parquet_is_said(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnmon_renderer.tables.table_files.find_spec", lambda name: None)
    assert main(["export", str(runs)]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err
