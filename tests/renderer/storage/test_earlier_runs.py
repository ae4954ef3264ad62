"""An earlier run in the same directory is moved aside as a whole, and nothing else is."""

import json
from pathlib import Path

import pytest

from attnmon.link import directory_lock
from attnmon_renderer.storage import earlier_runs, regular_files


def line(step: int, timestamp: float = 1_000_000_000.0) -> str:
    metadata = {"step": step, "timestamp": timestamp}
    return json.dumps({"metadata": metadata, "encoder": [], "decoder": []}) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of steps 10 and 20, and a user's files beside it."""
    (tmp_path / "history.jsonl").write_text(line(10) + line(20))
    for folder in ("step_10", "epoch_1_step_20", "tensorboard", "animations", "failed"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(folder)
    for name in ("summary.json", "run.json", "timeline.png", "notes.txt", "step_7.txt"):
        (tmp_path / name).write_text(name)
    directory_lock.keep_summary(tmp_path)
    (tmp_path / "summary.json").write_text("the new run's")
    for folder in ("checkpoints", "monitor_2", "rank_00001"):
        (tmp_path / folder).mkdir()
    (tmp_path / "step_30").symlink_to("checkpoints")
    return tmp_path


@pytest.mark.parametrize(
    ("step", "is_new"), [(-1, True), (0, True), (10, True), (11, False), (20, False), (500, False)]
)
def test_a_training_that_begins_at_or_before_the_first_step_is_new(
    step: int, is_new: bool, run: Path
) -> None:
    assert earlier_runs.is_new_run(run / "history.jsonl", step) is is_new


def test_where_only_that_step_was_recorded_nothing_can_be_mixed_up(tmp_path: Path) -> None:
    """As after a start that failed at once: its directory is gone on with."""
    path = tmp_path / "history.jsonl"
    path.write_text(line(0) * 2)
    assert not earlier_runs.is_new_run(path, 0)
    assert not earlier_runs.is_new_run(path, 1)


@pytest.mark.parametrize("history", [None, "", "torn {", "\x00" * 100])
def test_a_history_without_a_capture_is_gone_on_with(history: str | None, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    if history is not None:
        path.write_text(history)
    assert not earlier_runs.is_new_run(path, 0)


def test_a_first_line_that_is_torn_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"metadata": {"st\n' + line(10) + line(20))
    assert earlier_runs.is_new_run(path, 10)
    assert not earlier_runs.is_new_run(path, 11)


def test_all_of_the_run_and_nothing_of_the_user_is_moved(run: Path) -> None:
    moved = earlier_runs.set_aside(run)
    assert moved == run / "run_20010909-014640"
    assert {path.name for path in moved.iterdir()} == {
        "history.jsonl", "step_10", "epoch_1_step_20", "tensorboard", "animations", "failed",
        "run.json", "timeline.png", "summary.json",
    }  # fmt: skip
    assert (moved / "step_10" / "file").read_text() == "step_10"
    assert (moved / "summary.json").read_bytes() == b"summary.json"
    assert {path.name for path in run.iterdir()} == {
        "summary.json", "notes.txt", "step_7.txt", "checkpoints", "monitor_2", "rank_00001",
        "step_30", moved.name,
    }  # fmt: skip
    assert (run / "summary.json").read_text() == "the new run's"
    assert earlier_runs.folders(run) == [moved]


def test_a_move_that_was_interrupted_is_gone_on_with(run: Path) -> None:
    begun = run / "run_20010909-014640"
    begun.mkdir()
    (run / "step_10").rename(begun / "step_10")
    assert earlier_runs.set_aside(run) == begun
    assert {path.name for path in begun.iterdir()} >= {
        "step_10",
        "epoch_1_step_20",
        "history.jsonl",
    }
    assert earlier_runs.folders(run) == [begun]


def test_two_runs_of_one_second_have_folders_of_their_own(run: Path) -> None:
    first = earlier_runs.set_aside(run)
    (run / "history.jsonl").write_text(line(10))
    second = earlier_runs.set_aside(run)
    assert second.name == first.name + "_2"
    assert earlier_runs.folders(run) == [first, second]


def test_a_folder_that_is_a_link_is_not_moved_through(run: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "checkpoints"
    (elsewhere / "file").write_text("mine")
    (run / "run_20010909-014640").symlink_to(elsewhere)
    moved = earlier_runs.set_aside(run)
    assert moved.name == "run_20010909-014640_2"
    assert [path.name for path in elsewhere.iterdir()] == ["file"]


def test_the_first_summary_that_is_kept_stays(run: Path) -> None:
    """A training that ends before its first capture leaves the earlier run as it was."""
    directory_lock.keep_summary(run)
    assert (run / directory_lock.EARLIER_SUMMARY).read_text() == "summary.json"
    assert (run / "summary.json").read_text() == "the new run's"
    earlier_runs.go_on(run)
    assert not (run / directory_lock.EARLIER_SUMMARY).exists()
    earlier_runs.go_on(run)
    assert (run / "summary.json").read_text() == "the new run's"


def test_its_folder_is_for_those_whom_the_user_lets_in(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regular_files, "_folder_mode", 0o750)
    assert earlier_runs.set_aside(run).stat().st_mode & 0o777 == 0o750
