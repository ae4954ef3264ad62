"""A run in a directory where somebody has put links in the places of what it writes."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.process_messages import RunStatus, WriteResults
from attnmon_renderer.recorder import Recorder
from attnmon_renderer.worker import process_capture

WEIGHTS = np.full((2, 4, 4), 0.25, np.float32)
LAYER = Attention(
    "encoder.0", "encoder", 0, "self_attention", "recorded", (0, 1),
    weights=ArrayBlock(0, "float32", WEIGHTS.shape),
)  # fmt: skip
CAPTURE = Capture(
    0, 1, False, None, 0.5, None, 1.0, 0, (Slots(0, 1),), (LAYER,), Accounts(captured=1)
)
STATUS = RunStatus(Accounts(captured=1), 1, 0, "closed", (), ())


def run_in(save_dir: Path, step: int = 1) -> str:
    """Draws and records one capture, and saves one as if it had failed; returns all errors."""
    options = RenderOptions(("heatmap", "animation", "timeline"), raw_weights=True)
    setup = Setup(str(save_dir), options, 1 << 16, 1 << 16, 1)
    ring = memoryview(WEIGHTS.tobytes())
    capture = replace(CAPTURE, step=step)
    drawn, results = process_capture(capture, setup, ring)
    recorder = Recorder(setup)
    errors = [drawn.error, recorder.write(WriteResults(STATUS, 0, drawn.error), results)]
    errors.append(recorder.save_capture(WriteResults(STATUS, 0), capture, ring))
    recorder.close()
    return "; ".join(filter(None, errors))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The relative paths of all files of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_in(folder) == ""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert {name.split("/")[0] for name in names} >= {
        "animations", "failed", "history.jsonl", "step_1", "summary.json", "tensorboard",
        "timeline.png",
    }  # fmt: skip
    return names


def test_no_file_is_written_through_a_link(written: list[str], tmp_path: Path) -> None:
    victim, save_dir = tmp_path / "victim", tmp_path / "run"
    victim.write_text("precious\n")
    names = [name for name in written if "tfevents" not in name]  # that one nobody can foresee
    for name in names:
        (save_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (save_dir / name).symlink_to(victim)
    errors = run_in(save_dir)
    for name in names:
        assert name.split("/")[-1] in errors
        assert (save_dir / name).is_symlink()
    assert victim.read_text() == "precious\n"


def test_no_folder_is_entered_through_a_link(written: list[str], tmp_path: Path) -> None:
    elsewhere, save_dir = tmp_path / "elsewhere", tmp_path / "run"
    save_dir.mkdir()
    for folder in {name.split("/")[0] for name in written if "/" in name}:
        (elsewhere / folder).mkdir(parents=True)
        (save_dir / folder).symlink_to(elsewhere / folder)
    assert "is a link" in run_in(save_dir)
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []
    assert (save_dir / "history.jsonl").exists(), "what is in its place is written"


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(
    written: list[str], tmp_path: Path
) -> None:
    for name in written:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(tmp_path / name)
    assert "history.jsonl is a pipe" in run_in(tmp_path)


def test_a_run_goes_on_beside_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "step_7").symlink_to(tmp_path)
    assert run_in(tmp_path, step=1) == ""
    assert "step_7' in it is a link" in run_in(tmp_path, step=7)
    assert run_in(tmp_path, step=8) == ""
