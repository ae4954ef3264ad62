"""Each benchmark runs as it stands, in its smallest form, and writes what it promises."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.forked_script import run_file
from support.project import PROJECT, SCRIPTS

pytestmark = pytest.mark.timeout(300)  # on whatever the machine has left


def run(script: str, folder: Path, *arguments: str) -> Any:
    """Runs a benchmark in its smallest form. Returns the JSON that it wrote."""
    written = folder / "figures.json"
    done = run_file(SCRIPTS / script, "--quick", "--json", str(written), *arguments, timeout=280)
    assert done.returncode == 0, done.stderr
    return json.loads(written.read_text())


def test_overhead(tmp_path: Path) -> None:
    only = ("--only", "heatmaps_every_100", "lightweight_every_1", "--workload", "tiny")
    found = run("bench_overhead.py", tmp_path, *only, "--regime", "spare_core")
    assert found["machine"]
    assert [row["configuration"] for row in found["rows"]] == list(only[1:3])
    for row in found["rows"]:
        assert (row["workload"], row["regime"]) == ("tiny", "spare_core")
        assert row["ab_low"] <= row["ab"] <= row["ab_high"]
        assert row["accounted"] > 1, "a capture took no time"
        assert row["renderer_cpu_ms"] >= 0
        assert row["worst_step_ms"].keys() == {"none", "attnmon", "thread_pool", "in_loop"}
        assert {"thread_pool_ab", "in_loop_ab", "trainer_cpu"} <= row.keys()
        assert row["captured"] > 0
        assert row["rendered"] + row["dropped"] <= row["captured"]


def test_mirror(tmp_path: Path) -> None:
    found = run("bench_mirror.py", tmp_path)
    assert found["low"] <= found["ratio"] <= found["high"]
    assert found["bit_identical"]
    assert found["in_bucket"] > 0.9


def test_maps(tmp_path: Path) -> None:
    found = run("bench_maps.py", tmp_path)
    assert found["model"] == "a small model, trained here"
    assert [row["tokens"] for row in found["maps"]] == [128, 512]
    for row in found["maps"]:
        assert 0 < row["mean_error_bits"] <= row["error_bits"] <= 0.001
        assert row["bytes"] <= 2_600_000
    assert found["times"]["with_maps_ms"] > 0


def test_live(tmp_path: Path) -> None:
    """Each design draws while the training runs; the newest picture is as old as its step."""
    document, picture = tmp_path / "performance.md", tmp_path / "images" / "overhead.png"
    picture.parent.mkdir()
    document.write_text((PROJECT / "docs" / "performance.md").read_text())
    found = run("bench_live.py", tmp_path, "--docs", str(tmp_path))
    assert_only_the_table_is_new(document)
    with Image.open(picture) as image:
        image.load()
    rows = {row["design"]: row for row in found["rows"]}
    assert rows.keys() == {"none", "attnmon", "thread_pool", "in_loop"}
    assert rows["none"]["captures"] == rows["none"]["drawn"] == 0
    assert rows["none"]["lost"] == 0
    assert all(row["low"] <= row["lost"] <= row["high"] for row in rows.values())
    for live in found["runs"]:
        assert live["steps"] > 0
        if live["design"] != "none":
            assert live["captures"] >= live["drawn"]
            assert live["drawn"] == 0 or live["first_picture"] > 0
            assert all(0 < age <= live["worst_age"] for _, age in live["ages"])
    assert rows["in_loop"]["drawn"] == rows["in_loop"]["captures"] > 0


def assert_only_the_table_is_new(document: Path) -> None:
    before = (PROJECT / "docs" / "performance.md").read_text().splitlines()
    lines = document.read_text().splitlines()
    assert before[:50] == lines[:50]
    assert before[-50:] == lines[-50:]
    begin, end = map(lines.index, (f"<!-- bench_live {part} -->" for part in ("begins", "ends")))
    table = [line for line in lines[begin:end] if line.startswith("|")]
    assert len(table) == 6
    assert table[2].startswith("| no monitor, a core to spare |")
    assert table[3].startswith("| attnmon, a core to spare |")


def test_transport(tmp_path: Path) -> None:
    found = run("bench_transport.py", tmp_path)
    assert [row["kib"] for row in found["copies"]] == [64, 1024, 4096]
    assert all(row["ratio"] > 0 for row in found["copies"])
    assert [row["layers"] for row in found["announcing"]] == [1, 12]
    assert found["latency"]["median_us"] <= found["latency"]["p99_us"]
    assert found["construction"]["median_ms"] > 0
    assert found["idle_renderer"]["processes"] >= 3
    assert found["memory"]["ring_mib"] == pytest.approx(64, abs=64)


def test_device(tmp_path: Path) -> None:
    """Where there is no device it tells what would be sent."""
    rows = run("bench_device.py", tmp_path)["rows"]
    assert [row["positions"] for row in rows] == [4096, 8192]
    for row in rows:
        assert 0 < row["without_map"] < row["with_map"] < row["with_picture"]
        assert row["with_picture"] < row["query_and_key"] / 50
        assert 1 <= row["heads_at_once"] <= row["heads"]


def test_sandbox(tmp_path: Path) -> None:
    rows = run("bench_sandbox.py", tmp_path)["rows"]
    assert [row["way"] for row in rows[:3]] == ["model alone", "under the tap", "in the sandbox"]
    assert all(0 < row["low"] <= row["ms"] <= row["high"] for row in rows)


def test_due_step(tmp_path: Path) -> None:
    rows = run("bench_due_step.py", tmp_path)["rows"]
    assert [row["model"] for row in rows] == ["nn.Transformer", "own decoder"]
    assert all(row["captured"] and row["accounted"] > 0 and row["due call"] > 0 for row in rows)


def test_statistics(tmp_path: Path) -> None:
    rows = run("bench_statistics.py", tmp_path, "--queries", "512")["rows"]
    assert [(row["queries"], row["causal"]) for row in rows] == [(512, False), (512, True)]
    for row in rows:
        assert min(row["whole_ms"], row["tiled_ms"], row["default_ms"], row["with_maps_ms"]) > 0
        assert row["tiled_peak_bytes"] < row["whole_peak_bytes"]
        assert row["error"] < 1e-5


def test_figures(tmp_path: Path) -> None:
    rows = run("bench_figures.py", tmp_path, "--once")["rows"]
    assert len(rows) == 11
    for row in rows:
        assert min(row["naive_ms"], row["ours_ms"], row["bytes"]) > 0


def test_records(tmp_path: Path) -> None:
    found = run("bench_records.py", tmp_path, "--captures", "10")
    assert found["renderer"]["largest_card_bytes"] <= 25_000
    assert found["renderer"]["events_read_s"] > 0
    (row,) = found["rows"]
    assert row["captures"] == 10
    for what in ("records", "timeline", "disk budget"):
        assert 0 < row[what]["capture_ms"] <= row[what]["worst_ms"]
    assert row["report"]["memory_mb"] < 300


def test_view(tmp_path: Path) -> None:
    found = run("bench_view.py", tmp_path)
    assert found["fresh"]["captures"] > 0
    assert 0 < found["fresh"]["median_s"] <= found["fresh"]["p95_s"] <= found["fresh"]["worst_s"]
    assert found["fresh"]["bit_identical"]
    assert found["server"]["captures"] == 3
    assert 0 < found["server"]["memory_mb"] <= found["server"]["most_mb"]
    assert found["followed"]["low"] <= found["followed"]["ratio"] <= found["followed"]["high"]
