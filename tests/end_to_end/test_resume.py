"""Runs that go on in a used directory leave what is there as it was."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary, tensorboard

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.commands import main
from attnmon_renderer.results import Results
from attnmon_renderer.sinks.history import History
from attnmon_renderer.sinks.statistics_json import StatisticsText, document
from attnmon_renderer.storage import earlier_runs
from attnmon_renderer.storage.history_reader import HistoryFile

LOSS = "train/loss"
ENTROPY = "attention/decoder_layer0_self_entropy"


def train(folder: Path, steps: range, loss: float, **options: Any) -> dict[str, Any]:
    model = LanguageModel()
    with TrainingAttentionMonitor(folder, 1, max_overhead=None, **options) as monitor:
        for step in steps:
            monitor.log_attention(model, batch(), step=step, loss=loss)
    return monitor.close()


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five captures. Tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(folder, range(5), 1.0)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of that run, which a test may change."""
    return shutil.copytree(made, tmp_path / "run")


def test_what_was_written_before_is_not_touched(run: Path) -> None:
    before, lines = hashes(run), (run / "history.jsonl").read_bytes()
    train(run, range(5, 7), 2.0)
    after = hashes(run)
    changed = {name for name, content in before.items() if after.get(name) != content}
    assert changed == {"history.jsonl", "summary.json", "run.json"}
    assert (run / "history.jsonl").read_bytes().startswith(lines)
    assert [line["metadata"]["step"] for line in history(run)] == list(range(7))
    new = {name.partition("/")[0] for name in after.keys() - before.keys()}
    assert new == {"step_5", "step_6", "tensorboard"}
    assert (summary(run)["captured"], summary(run)["rendered"]) == (2, 2)
    check_outputs(run)


def test_a_run_from_an_earlier_step_replaces_what_it_does_again(run: Path) -> None:
    """As after a crash, the last checkpoint is older than the last capture."""
    before = hashes(run)
    train(run, range(3, 7), 2.0)
    after = hashes(run)
    changed = {name for name, content in before.items() if after.get(name) != content}
    again = {name for name in before if name.startswith(("step_3/", "step_4/"))}
    assert changed <= {"history.jsonl", "summary.json", "run.json"} | again
    steps = [line["metadata"]["step"] for line in history(run)]
    assert steps == [0, 1, 2, 3, 4, 3, 4, 5, 6], "the history tells what happened"
    told = json.loads((run / "step_3" / "statistics.json").read_text())
    assert told["metadata"]["loss"] == 2.0
    events = tensorboard(run)
    curve = [(event.step, event.value) for event in events.Scalars(LOSS)]
    assert curve == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0), (6, 2.0)]
    pictures = events.Images("attention/decoder_layer0_self")
    assert [event.step for event in pictures] == list(range(7))


def test_a_training_that_starts_anew_is_another_run(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that shows it is a splice of both, and the earlier one is kept whole."""
    before = hashes(run)
    (run / "checkpoint.pt").write_bytes(b"the user's")
    train(run, range(3), 2.0, visualization_types=["timeline", "heatmap", "statistics"])
    (earlier,) = earlier_runs.folders(run)
    assert hashes(earlier) == before
    assert [line["metadata"]["loss"] for line in history(run)] == [2.0, 2.0, 2.0]
    steps = {path.name for path in run.glob("step_*")}
    assert steps == {"step_0", "step_1", "step_2"}
    curve = [(event.step, event.value) for event in tensorboard(run).Scalars(LOSS)]
    assert curve == [(0, 2.0), (1, 2.0), (2, 2.0)]
    new, old = (json.loads((folder / "run.json").read_text()) for folder in (run, earlier))
    assert new["id"] != old["id"]
    assert (run / "checkpoint.pt").read_bytes() == b"the user's"
    assert f"{run} held an earlier run" in caplog.text
    assert earlier.name in caplog.text
    check_outputs(run)
    check_outputs(earlier)
    assert main(["report", str(run)]) == 0
    assert main(["status", str(earlier)]) == 0


def test_a_resumed_training_is_the_same_run(run: Path) -> None:
    before = json.loads((run / "run.json").read_text())
    train(run, range(5, 7), 2.0)
    after = json.loads((run / "run.json").read_text())
    assert after["id"] == before["id"]
    assert [start["step"] for start in after["resumed"]] == [5]
    assert not earlier_runs.folders(run)


def test_the_report_and_the_timeline_show_the_latest_of_each_step(run: Path) -> None:
    train(run, range(3, 6), 2.0, visualization_types=["timeline", "statistics"])
    assert main(["report", str(run)]) == 0
    from attnmon_renderer.report.gather import gather_report_data

    found = gather_report_data(run, run, 50, 10**7)
    told = [(line["metadata"]["step"], line["metadata"]["loss"]) for line in found.history]
    assert told == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert (run / "timeline.png").exists()


def captures(path: Path) -> list[dict[str, Any]]:
    with HistoryFile(path, []) as file:
        return list(file.captures(most=1000))


def test_a_line_and_events_that_a_crash_cut_short(run: Path) -> None:
    """The torn line is ended and skipped; the torn events lose nothing but themselves."""
    path = run / "history.jsonl"
    torn = path.read_bytes()[:-40]
    path.write_bytes(torn)
    (events,) = (run / "tensorboard").iterdir()
    events.write_bytes(events.read_bytes()[:-40])
    train(run, range(4, 7), 2.0)
    assert path.read_bytes().startswith(torn + b"\n{")
    assert [line["metadata"]["step"] for line in captures(path)] == [0, 1, 2, 3, 4, 5, 6]
    assert len(path.read_bytes().splitlines()) == 8, "the torn line is one, by itself"
    for tag in (LOSS, ENTROPY):
        assert [event.step for event in tensorboard(run).Scalars(tag)] == list(range(7))
    assert summary(run)["failed"] == 0


@pytest.mark.parametrize(
    "tail",
    [b"", b"\n\n", b"\x00" * 4096, b"null\n", b'{"metadata": []}\n', b'{"metadata": {}}\n{"met'],
)
def test_a_history_that_ends_in_nonsense_is_gone_on_with(tail: bytes, tmp_path: Path) -> None:
    """A file system may give back zeros for what had not reached the disk."""
    path = tmp_path / "history.jsonl"
    path.write_bytes(tail)
    made = [Results(f"step_{step}", step, timestamp=1.0) for step in range(2)]
    for results in made:
        History(path).append(results, StatisticsText(results))
        History(path).append(results, StatisticsText(results))  # given again to the next recorder
    assert path.read_bytes().startswith(tail)
    assert captures(path) == [document(results) for results in made]
