"""A model that is split over four processes is shown as one, with what is missing named."""

import json
import os
import platform
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from support import split_model
from support.maps import random_weights, write_maps
from support.processes import run_on_all, started_on_all
from support.training_process import wait_for

from attnmon_renderer.commands import main
from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.mirror import remote_folders
from attnmon_renderer.model_ranks import rank_history, waiting_steps
from attnmon_renderer.model_ranks.merged_copy import merged_copy
from attnmon_renderer.model_ranks.model_merging import ModelMerging
from attnmon_renderer.storage.paths import MAPS
from attnmon_renderer.storage.run_reader import NoRun, read_run

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="gloo is not here")

Rows = dict[int, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the model as it is, in this process."""
    folder = tmp_path_factory.mktemp("whole")
    split_model.run_whole(str(folder))
    return folder


def rows_by_step(folder: Path) -> Rows:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return {line["metadata"]["step"]: line["encoder"] for line in lines}


def test_four_processes_are_one_model(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_on_all(split_model.__file__, 4, tmp_path, "to the end")
    with merged_copy(tmp_path, follow=False) as merged:
        # In a job of several processes the first map is that of the second step.
        compare(rows_by_step(merged), rows_by_step(whole))
        for step in rows_by_step(merged):
            compare_maps(merged / f"step_{step}", whole / f"step_{step}")
    assert main(["status", str(tmp_path)]) == 0
    assert "closed" in capsys.readouterr().out
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "report.html")]) == 0


def compare(merged: Rows, whole: Rows, least: int = split_model.STEPS - 1) -> None:
    assert len(merged) >= least
    for step, rows in merged.items():
        assert [row["layer"] for row in rows] == list(range(split_model.LAYERS))
        for row, expected in zip(rows, whole[step], strict=True):
            assert row["shape"] == expected["shape"]
            for name in ("mean", "std", "min", "max"):
                assert row[name] == pytest.approx(expected[name], abs=1e-6)
            assert row["heads"].keys() == expected["heads"].keys()
            for name, values in expected["heads"].items():
                assert row["heads"][name] == pytest.approx(values, abs=1e-5, rel=1e-5)


def compare_maps(merged: Path, whole: Path) -> None:
    with open_maps(merged / MAPS) as ours, open_maps(whole / MAPS) as theirs:
        assert ours.metadata.layers.keys() == theirs.metadata.layers.keys()
        for stem, layer in theirs.metadata.layers.items():
            assert ours.metadata.layers[stem].heads == layer.heads
            difference = np.abs(ours.all_codes(stem).astype(int) - theirs.all_codes(stem))
            assert difference.max() <= 1  # where rounding errors meet the edge of a code
            assert (difference > 0).mean() < 0.01
            np.testing.assert_allclose(ours.scale(stem), theirs.scale(stem), rtol=1e-6)


def test_a_process_that_is_killed_is_named_and_the_rest_is_shown(
    tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [tmp_path / f"rank_{rank:05}" for rank in range(4)]
    with started_on_all(split_model.__file__, 4, tmp_path, "until loss") as ranks:
        wait_for(lambda: len(recorded(ends[3])) > 1, "nothing is recorded")
        ranks[3].send_signal(signal.SIGKILL)
        errors = [rank.communicate(timeout=60)[1] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [1, 1, 1, -signal.SIGKILL], errors
    for end in ends:
        wait_for(lambda end=end: read_run(end).has_ended, f"{end} does not end")
    last = max(recorded(ends[3]))
    name = f"rank 3 (pipeline stage 1, tensor rank 1) is silent since step {last:,} (trainer lost)"
    with merged_copy(tmp_path, follow=False) as merged:
        shown = rows_by_step(merged)
        compare({step: shown[step] for step in shown if step < min(last, split_model.STEPS)},
                rows_by_step(whole), 1)  # fmt: skip
        for row in shown[last + 1]:
            entropy = row["heads"]["entropy"]
            assert None not in entropy[:2]
            assert (entropy[2:] == [None, None]) == (name in row["note"]) == (row["layer"] >= 2)
        with open_maps(merged / f"step_{last + 1}" / MAPS) as maps:
            layers = maps.metadata.layers
            assert [layer.missing for layer in layers.values()] == [(), (), (2, 3), (2, 3)]
        summary = json.loads((merged / "summary.json").read_text())
        assert name in summary["warnings"]
    assert main(["status", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert f"{tmp_path}\n" in told
    assert "trainer lost" in told


def recorded(folder: Path) -> list[int]:
    """Return the steps that a process has recorded."""
    return list(rows_by_step(folder)) if (folder / "history.jsonl").exists() else []


def test_a_stage_that_is_silent_is_shown_empty(tmp_path: Path) -> None:
    for rank, steps in enumerate(([1, 2], [1])):
        write_part(tmp_path, rank, steps, "closed", pipeline=True)
        for step in steps:
            weights = {"encoder_layer0_self_attn": random_weights(1, 2, 2)}
            (folder := tmp_path / f"rank_{rank:05}" / f"step_{step}").mkdir()
            write_maps(folder / MAPS, step, weights)
    with merged_copy(tmp_path, follow=False) as merged:
        rows = rows_by_step(merged)[2]
        with open_maps(merged / "step_2" / MAPS) as maps:
            layers = maps.metadata.layers
            assert [layer.missing for layer in layers.values()] == [(), (0,)]
            assert "tensor rank 0) is silent since step 1" in list(layers.values())[1].note
            assert not maps.all_codes(list(layers)[1]).any()
    assert [row["heads"]["entropy"] for row in rows] == [[0.25], [None]]
    assert "rank 1 (pipeline stage 1, tensor rank 0) is silent since step 1" in rows[1]["note"]


def test_a_model_that_goes_on_is_no_trouble(tmp_path: Path) -> None:
    for rank in range(2):
        write_part(tmp_path, rank, [1])
        (tmp_path / f"rank_{rank:05}" / "summary.json").write_text(
            json.dumps({"state": "running", "host": platform.node(), "pids": [os.getpid()]})
        )
    assert main(["status", str(tmp_path)]) == 0


def test_a_split_model_in_a_bucket_is_one_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in range(2):
        write_part(tmp_path, rank, [1, 2], "closed")
    assert main(["sync", str(tmp_path), "memory://bucket/split"]) == 0
    capsys.readouterr()
    assert main(["status", "memory://bucket/split", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["directory"], told["captured"]) == ("memory://bucket/split", 2)
    assert main(["sync", "memory://bucket/split", str(tmp_path / "back")]) == 0
    with merged_copy(tmp_path / "back", follow=False) as merged:
        assert rows_by_step(merged)[2][0]["heads"]["entropy"] == [0.25, 0.5]


def test_memory_does_not_grow_with_the_captures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_history, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(waiting_steps, "MOST_WAITING_BYTES", 100_000)
    peaks = {}
    for captures in (1000, 5000):
        folder = tmp_path / str(captures)
        folder.mkdir()
        for rank in range(2):
            steps = range(captures) if rank == 0 else range(0, captures, 2)  # it leaves some out
            write_part(folder, rank, list(steps))
        tracemalloc.start()
        ModelMerging(folder, folder / "merged", lambda: 0.0, with_maps=False).update()
        peaks[captures] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert list(rows_by_step(folder / "merged")) == list(range(captures - 1))
    assert peaks[5000] - peaks[1000] < 300 * (5000 - 1000) / 2  # what tells where a line is


def write_part(
    folder: Path, rank: int, steps: list[int], state: str = "running", *, pipeline: bool = False
) -> None:
    """Write one process's run: rank 0 and 1 share a layer's heads, or have a layer each."""
    part = folder / f"rank_{rank:05}"
    part.mkdir(exist_ok=True)
    row = {
        "layer": 0, "type": "self_attention", "name": "a.0", "shape": [1, 2, 2], "mean": 0.5,
        "std": 0.0, "min": 0.5, "max": 0.5, "heads": {"entropy": [0.25 * (1 + rank)]},
    }  # fmt: skip
    lines = [json.dumps({"metadata": {"step": step}, "encoder": [row], "decoder": []}) + "\n"
             for step in steps]  # fmt: skip
    (part / "history.jsonl").write_text("".join(lines))
    (part / "summary.json").write_text(json.dumps({"state": state}))
    places = {"pp": [rank, 2], "tp": [0, 1]} if pipeline else {"pp": [0, 1], "tp": [rank, 2]}
    content = {"format": "attnmon-rank 1", "rank": rank, "world_size": 2, "coordinates": places}
    (part / "rank.json").write_text(json.dumps(content))


def test_a_step_is_shown_in_time_and_again_when_it_is_whole(tmp_path: Path) -> None:
    now = 0.0
    merging = ModelMerging(tmp_path, tmp_path / "merged", lambda: now)
    write_part(tmp_path, 0, [1, 2])
    write_part(tmp_path, 1, [1])
    merging.update()
    assert list(rows_by_step(tmp_path / "merged")) == [1]  # the other may still come
    now = 31.0
    merging.update()
    assert rows_by_step(tmp_path / "merged")[2][0]["heads"]["entropy"] == [0.25, None]
    write_part(tmp_path, 1, [1, 2])
    merging.update()
    merging.update()
    assert rows_by_step(tmp_path / "merged")[2][0]["heads"]["entropy"] == [0.25, 0.5]
    lines = (tmp_path / "merged" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["metadata"]["step"] for line in lines] == [1, 2, 2]


def test_a_model_without_a_summary_is_no_run_yet_and_is_followed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(tmp_path, 0, [1], state="closed")
    summary = tmp_path / "rank_00000" / "summary.json"
    content = summary.read_text()
    summary.unlink()
    with pytest.raises(NoRun, match=r"no process .* has a summary\.json"):
        ModelMerging(tmp_path, tmp_path / "merged").update()
    summary.write_text(content)
    monkeypatch.setattr(remote_folders, "FOLLOW_SECONDS", 0.02)
    with merged_copy(tmp_path, follow=True) as merged:
        summary.unlink()
        time.sleep(0.1)  # some looks
        summary.write_text(content)
        write_part(tmp_path, 0, [1, 2], state="closed")
        wait_for(lambda: 2 in rows_by_step(merged), "it is followed no more")


def test_a_process_that_never_began_is_named(tmp_path: Path) -> None:
    write_part(tmp_path, 0, [1], state="closed")
    with merged_copy(tmp_path, follow=False) as merged:
        note = rows_by_step(merged)[1][0]["note"]
    assert note == "pipeline stage 0, tensor rank 1 has not begun: its heads are missing"


def test_damaged_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    write_part(tmp_path, 0, [1], state="closed")
    write_part(tmp_path, 1, [1], state="closed")
    (tmp_path / "rank_00001" / "rank.json").write_text('{"rank": "x"}')
    (tmp_path / "rank_00002").symlink_to(tmp_path / "rank_00000")
    with merged_copy(tmp_path, follow=False) as merged:
        assert "has not begun" in rows_by_step(merged)[1][0]["note"]
