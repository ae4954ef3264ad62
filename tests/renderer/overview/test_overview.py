"""Many runs at once: a line each, and a page that is kept up to date."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from attnmon_renderer.commands import main
from attnmon_renderer.overview.run_lines import overview_lines
from attnmon_renderer.overview.troubles import find_troubles
from attnmon_renderer.overview.watching import StepRates
from attnmon_renderer.storage import regular_files, run_reader
from attnmon_renderer.storage.run_reader import find_runs, read_run


def write_run(folder: Path, **figures: Any) -> Path:
    """A run as its files tell it, of another machine: its processes are not judged."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = {
        "state": "running", "captured": 4, "rendered": 3, "dropped": 1, "failed": 0, "steps": 400,
        "last_step": 399, "interval": 100, "host": "elsewhere", "pids": [1], "started": 1e9,
        "written": 1e9 + 200, "newest_picture": time.time() - 30, **figures,
    }  # fmt: skip
    temporary = folder / "next"
    temporary.write_text(json.dumps(summary))
    temporary.rename(folder / "summary.json")
    line = {"metadata": {"step": 300, "loss": 0.125}, "encoder": [], "decoder": []}
    (folder / "history.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A directory with runs on three levels, and what is none."""
    write_run(tmp_path / "one")
    write_run(tmp_path / "one" / "monitor_2", state="closed")
    write_run(tmp_path / "sweep" / "lr_1" / "attention_logs", state="trainer lost")
    write_run(tmp_path / ".hidden")
    write_run(tmp_path / "a" / "b" / "c" / "d" / "e", state="closed")
    (tmp_path / "one" / "step_100").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    return tmp_path


def test_all_runs_below_a_directory_are_found(runs: Path) -> None:
    found = [str(run.relative_to(runs)) for run in find_runs(runs)]
    assert found == ["one", "one/monitor_2", "sweep/lr_1/attention_logs"]


def test_no_more_folders_are_looked_into_than_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may give a home directory."""
    for number in range(40):
        (tmp_path / f"{number % 2}" / f"{number}").mkdir(parents=True)
    looked_into: list[Path] = []
    monkeypatch.setattr(run_reader, "MOST_FOLDERS", 10)
    monkeypatch.setattr(regular_files, "exists", lambda path: looked_into.append(path.parent))
    assert find_runs(tmp_path) == []
    assert len(set(looked_into)) == 10


def test_each_run_is_a_line_and_what_is_wrong_stands_at_its_end(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(runs)]) == 1
    heading, one, below, lost = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        "run",
        "state",
        "step",
        "steps/s",
        "loss",
        "picture",
        "drawn",
        "lost",
    ]
    assert one.split() == ["one", "running", "399", "2", "0.125", "30", "s", "ago", "3/4", "1"]
    assert below.split()[:4] == ["one/monitor_2", "closed", "399", "–"]
    assert lost.endswith("! the training process ended without closing the monitor")
    assert len({line.index("0.125") for line in (one, below, lost)}) == 1, "columns are aligned"


def test_a_directory_that_is_a_run_is_that_one_alone(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(runs / "one"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["directory"] == str(runs / "one")
    assert main(["status", str(runs / "one"), str(runs / "sweep"), "--json"]) == 1
    both = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in both] == ["running", "trainer lost"]


def test_several_directories_are_told_apart(runs: Path) -> None:
    folders = [runs / "one", runs / "sweep"]
    shown = [read_run(run) for folder in folders for run in find_runs(folder)]
    names = [line.split()[0] for line in overview_lines(shown, folders)[1:]]
    assert names == ["one", "one/monitor_2", "sweep/lr_1/attention_logs"]


def test_on_a_narrow_terminal_what_is_wrong_has_a_line_of_its_own(runs: Path) -> None:
    shown = [read_run(run) for run in find_runs(runs)]
    lines = overview_lines(shown, [runs], width=72)
    heading, one, below, lost, wrong = lines
    assert all(len(line) <= 72 for line in lines)
    assert heading.split()[-2:] == ["drawn", "lost"]
    assert one.split()[-2:] == below.split()[-2:] == lost.split()[-2:] == ["3/4", "1"]
    assert lost.startswith("…tention_logs  trainer lost"), "the end of its name tells it apart"
    assert wrong == "  ! the training process ended without closing the monitor"
    assert len(overview_lines(shown, [runs], width=200)) == 4


def test_what_a_run_s_files_say_cannot_control_the_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a\x1b[2J", state="run\x1b[2Jning", off="\x1b]0;x\x07")
    lines = overview_lines([read_run(run)], [tmp_path])
    assert all(line.isprintable() for line in lines)


def test_a_directory_without_a_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert f"no run in {tmp_path}" in capsys.readouterr().err


def test_rates_are_those_since_the_reading_before(tmp_path: Path) -> None:
    rates = StepRates()
    for steps, written, expected in ((100, 10.0, None), (100, 10.0, None), (150, 20.0, 5.0)):
        write_run(tmp_path, steps=steps, written=1e9 + written)
        rates.add([read_run(tmp_path)])
        assert rates.now.get(tmp_path) == expected
    write_run(tmp_path, steps=10, written=1e9 + 30)  # another run in the same directory
    rates.add([read_run(tmp_path)])
    assert rates.now[tmp_path] == 5.0
    assert not find_troubles(read_run(tmp_path))


def test_a_page_is_kept_up_to_date_until_it_is_interrupted(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        [sys.executable, "-m", "attnmon", "status", "--watch", str(tmp_path)],
        stdout=theirs, env={**os.environ, "COLUMNS": "90", "LINES": "12"},
    )  # fmt: skip
    os.close(theirs)
    try:
        read_until(ours, "no run yet in")
        write_run(tmp_path / "first")
        read_until(ours, "399")
        write_run(tmp_path / "first", last_step=512, steps=513, written=1e9 + 300)
        assert "\x1b[H" in read_until(ours, "512")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)


def read_until(terminal: int, words: str) -> str:
    """Return what the terminal was sent, to these words."""
    said, deadline = "", time.monotonic() + 60
    while words not in said and time.monotonic() < deadline:
        said += os.read(terminal, 65536).decode()
    assert words in said
    return said


def test_a_stream_that_is_no_terminal_gets_pages(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnmon_renderer.overview import watching

    pages = iter([None, None, KeyboardInterrupt])

    def sleep(seconds: float) -> None:
        if (raised := next(pages)) is not None:
            raise raised

    monkeypatch.setattr(watching.time, "sleep", sleep)
    stream = io.StringIO()
    assert watching.watch([runs], stream) == 1
    assert stream.getvalue().count("sweep/lr_1/attention_logs") == 3
    assert "\x1b" not in stream.getvalue()
