"""What the recorder writes, in which order, and what it says of what it cannot write."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import support.pictures  # noqa: F401  # opens matplotlib's fonts before the leak check of a test
from PIL import Image
from support.outputs import history, summary

from attnmon.link import directory_lock
from attnmon.link.channel import Channel
from attnmon.link.records.alert import Alert
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages, recorder
from attnmon_renderer.analysis.layer_statistics import LayerStatistics
from attnmon_renderer.insight.alert_log import append_alerts
from attnmon_renderer.process_messages import ResultsWritten, RunStatus, WriteResults
from attnmon_renderer.recorder import SUMMARY_SECONDS, Recorder, run_recorder
from attnmon_renderer.results import LayerResult, Results, write_to_descriptor
from attnmon_renderer.sinks.animation_and_timeline import REDRAW_SECONDS
from attnmon_renderer.sinks.summary import Summary
from attnmon_renderer.sinks.timeline_entries import TimelineEntries

STATISTICS = LayerStatistics(
    0.5, 0.25, 0.0, 1.0, {"entropy": [0.5, float("nan")], "max_logit": [1.0, 2.0]}, 0.0, 0, None
)
LAYER = LayerResult(
    "decoder", 1, "cross_attention", STATISTICS, (2, 3, 4), "decoder.1", "softmax", (0, 5)
)
STATUS = RunStatus(Accounts(captured=9), 3, 0, "running", (1, 2), ())


def setup(folder: Path, disk_budget: int | None = None, *, pack: bool = False) -> Setup:
    options = RenderOptions((), tensorboard=False, pack=pack)
    return Setup(str(folder), options, 1 << 16, 1 << 16, 1, disk_budget=disk_budget)


def results(step: int) -> Results:
    return Results(f"step_{step}", step, timestamp=1.0 + step, loss=0.5, layers=[LAYER])


def no_ring() -> memoryview:
    raise AssertionError("the ring is for captures that no worker survived")


class Supervisor:
    """Gives a recorder its tasks, all at once, and reads what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.channel, self.own = Channel.pair()

    def give(self, task: WriteResults, made: Results | None = None) -> None:
        files = [] if made is None else [write_to_descriptor(made)]
        self.channel.send(process_messages.encode(task), files)
        for file in files:
            os.close(file)

    def answers(self) -> list[ResultsWritten]:
        self.channel.end_sending()
        run_recorder(self.own, setup(self.folder), no_ring)
        found = []
        while (packet := self.channel.receive()) is not None:
            answer = process_messages.decode(packet.data)
            assert isinstance(answer, ResultsWritten)
            assert answer.seconds > 0
            found.append(replace(answer, seconds=0.0))
        return found


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.channel.close()
    made.own.close()


def test_captures_are_written_and_answered_in_the_order_given(supervisor: Supervisor) -> None:
    for sequence, step in ((4, 30), (5, 10), (6, 20)):
        supervisor.give(WriteResults(STATUS, sequence), results(step))
    assert supervisor.answers() == [ResultsWritten(sequence) for sequence in (4, 5, 6)]
    assert [line["metadata"]["step"] for line in history(supervisor.folder)] == [30, 10, 20]
    for step in (10, 20, 30):
        written = json.loads((supervisor.folder / f"step_{step}" / "statistics.json").read_text())
        assert written["metadata"]["step"] == step
        (row,) = written["decoder"]
        assert (row["layer"], row["type"]) == (1, "cross_attention")
        assert row["heads"]["entropy"] == [0.5, None], "NaN is no JSON"
        assert row["head_indices"] == [0, 5]


def test_a_status_alone_is_written_and_not_answered(supervisor: Supervisor) -> None:
    supervisor.give(WriteResults(replace(STATUS, state="closed", failed=2)))
    assert supervisor.answers() == []
    assert (summary(supervisor.folder)["state"], summary(supervisor.folder)["failed"]) == (
        "closed", 2,
    )  # fmt: skip
    assert not (supervisor.folder / "history.jsonl").exists()


def test_a_failed_capture_without_results_is_in_the_summary_only(supervisor: Supervisor) -> None:
    supervisor.give(WriteResults(replace(STATUS, failed=1, errors=("no font",)), 4, "no font"))
    assert supervisor.answers() == [ResultsWritten(4)]
    assert summary(supervisor.folder)["errors"] == ["no font"]
    assert not (supervisor.folder / "history.jsonl").exists()


def test_the_error_of_a_capture_stands_in_its_line(tmp_path: Path) -> None:
    Recorder(setup(tmp_path)).write(WriteResults(STATUS, 4, "no font"), results(10))
    (line,) = history(tmp_path)
    assert line["error"] == "no font"


def test_a_sink_that_fails_is_named_and_the_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    error = Recorder(setup(tmp_path)).write(WriteResults(STATUS, 4), results(10))
    assert error.startswith("history.jsonl: NotRegular")
    assert (tmp_path / "step_10" / "statistics.json").exists()
    assert summary(tmp_path)["rendered"] == 3


def test_a_capture_given_to_the_next_recorder_as_well_has_one_line(tmp_path: Path) -> None:
    for _ in range(2):
        Recorder(setup(tmp_path)).write(WriteResults(STATUS, 4), results(10))
    assert len(history(tmp_path)) == 1


def test_a_packed_step_has_no_statistics_beside_it(tmp_path: Path) -> None:
    Recorder(setup(tmp_path, pack=True)).write(WriteResults(STATUS, 4), results(10))
    assert not (tmp_path / "step_10").exists(), "they are the worker's, in the zip file"
    assert len(history(tmp_path)) == 1


def test_what_the_user_should_be_told_is_told_once(tmp_path: Path) -> None:
    full = Recorder(setup(tmp_path, disk_budget=1))
    full.write(WriteResults(STATUS, 4), results(10))
    assert full.disk_is_full
    assert [kind for kind, _ in full.take_notices()] == ["disk"]
    assert full.take_notices() == ()


def test_a_run_whose_supervisor_dies_is_closed_as_lost(tmp_path: Path) -> None:
    lost = Recorder(setup(tmp_path))
    accounts = Accounts(captured=9, dropped=2, failed=1)
    lost.write(WriteResults(replace(STATUS, trainer=accounts)), None)
    lost.close()
    found = summary(tmp_path)
    assert (found["state"], found["pids"]) == ("renderer lost", [])
    assert found["captured"] == found["rendered"] + found["dropped"] + found["failed"]


def test_a_run_that_has_ended_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Recorder(setup(tmp_path))
    ended.write(WriteResults(replace(STATUS, state="closed")), None)
    monkeypatch.setattr(Summary, "write", lambda *_: pytest.fail("it is there"))
    ended.close()


def test_a_last_summary_that_did_not_fit_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    write = Summary.write

    def write_when_there_is_room(self: Summary, *given: object, **more: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OSError(28, "No space left on device")
        write(self, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Summary, "write", write_when_there_is_room)
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.0)
    ended = Recorder(setup(tmp_path))
    error = ended.write(WriteResults(replace(STATUS, state="closed")), None)
    assert error.startswith("summary.json: OSError")
    ended.close()
    assert (tries, summary(tmp_path)["state"]) == (4, "closed")


def test_a_capture_costs_the_same_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory with a folder for each capture is never listed, but when a recorder begins."""
    options = RenderOptions(("animation", "timeline"))
    writer = Recorder(replace(setup(tmp_path, disk_budget=1 << 30), options=options))
    writer.write(WriteResults(STATUS, 4), results(10))
    listed = []
    scandir = os.scandir

    def noted(folder: int) -> "os._ScandirIterator[str]":
        listed.append(os.readlink(f"/proc/self/fd/{folder}"))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", noted)
    assert writer.write(WriteResults(STATUS, 5), results(20)) == ""
    assert listed
    assert str(tmp_path) not in listed
    writer.close()


def test_a_summary_that_was_written_just_now_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    writer = Recorder(setup(tmp_path))
    for rendered, expected in ((1, 1), (2, 1), (3, 1)):
        writer.write(WriteResults(replace(STATUS, rendered=rendered), 4), results(10 * rendered))
        assert summary(tmp_path)["rendered"] == expected
    assert writer.seconds_left == SUMMARY_SECONDS
    now += SUMMARY_SECONDS
    writer.catch_up()
    assert summary(tmp_path)["rendered"] == 3
    assert writer.seconds_left is None
    writer.write(WriteResults(replace(STATUS, rendered=4), 4), results(40))
    writer.write(WriteResults(replace(STATUS, rendered=4, state="finishing")), None)
    assert summary(tmp_path)["state"] == "finishing"
    writer.close()


def test_a_timeline_that_was_drawn_just_now_is_drawn_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RenderOptions(("timeline",))
    writer = Recorder(replace(setup(tmp_path), options=options))
    assert writer.seconds_left is None
    writer.write(WriteResults(STATUS, 4), results(10))
    first = (tmp_path / "timeline.png").read_bytes()
    assert writer.seconds_left is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    writer.write(WriteResults(STATUS, 5), results(20))
    assert (tmp_path / "timeline.png").read_bytes() == first
    writer.catch_up()
    assert (tmp_path / "timeline.png").read_bytes() == first
    now += REDRAW_SECONDS
    assert writer.seconds_left == 0
    writer.catch_up()
    assert writer.seconds_left is None
    second = (tmp_path / "timeline.png").read_bytes()
    assert second != first
    append_alerts(tmp_path, [Alert("a", "loss_spike", "warn", "firing", 20)])
    writer.write(WriteResults(STATUS, 6), results(30))
    writer.close()
    with Image.open(tmp_path / "timeline.png") as third:
        pixels = np.asarray(third.convert("RGB"))
    assert (pixels == [255, 127, 14]).all(-1).any()  # orange, of the alert


def test_a_timeline_that_cannot_be_drawn_is_tried_with_the_next_capture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(TimelineEntries, "data", fail)
    writer = Recorder(replace(setup(tmp_path), options=RenderOptions(("timeline",))))
    assert "timeline" in writer.write(WriteResults(STATUS, 4), results(10))
    assert writer.seconds_left is None
    writer.close()


def test_a_timeline_that_cannot_be_drawn_later_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Recorder(replace(setup(tmp_path), options=RenderOptions(("timeline",))))
    writer.write(WriteResults(STATUS, 4), results(10))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(TimelineEntries, "data", lambda *_: 1 / 0)
    writer.write(WriteResults(STATUS, 5), results(20))
    now += REDRAW_SECONDS
    writer.catch_up()
    words = "the timeline could not be drawn: ZeroDivisionError: division by zero"
    assert writer.take_notices() == (("timeline", words),)
    writer.write(WriteResults(replace(STATUS, state="closed"), 6), results(30))
    writer.close()
    assert summary(tmp_path)["errors"] == [words], "nothing comes after it that could tell"


def test_a_summary_of_another_training_with_the_same_process_id_is_kept(tmp_path: Path) -> None:
    first = replace(setup(tmp_path), trainer_pid=7, started=1000.0, may_hold_run=True)
    writer = Recorder(first)
    writer.write(WriteResults(STATUS), None)
    writer.close()
    kept = tmp_path / directory_lock.EARLIER_SUMMARY
    Recorder(first).close()
    assert not kept.exists(), "another recorder of the same training"
    Recorder(replace(first, started=2000.0)).close()
    assert kept.exists()


def test_a_summary_that_belongs_to_no_history_is_not_kept(tmp_path: Path) -> None:
    """It would be taken for that of the run that is recorded next."""
    kept = tmp_path / directory_lock.EARLIER_SUMMARY
    kept.write_text("{}")
    Recorder(setup(tmp_path)).close()
    assert not kept.exists()
    kept.write_text("{}")
    Recorder(replace(setup(tmp_path), may_hold_run=True)).close()
    assert kept.exists()
