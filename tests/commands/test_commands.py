"""The commands: what they say of real runs and of this machine, and their exit codes."""

import json
import os
import platform
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.models import LanguageModel, batch
from support.outputs import strict_json

from attnmon import LightweightAttentionMonitor
from attnmon.link.ring import RingError
from attnmon_renderer import doctor
from attnmon_renderer.commands import main
from attnmon_renderer.commands import renderer as renderer_command
from attnmon_renderer.doctor import machine
from attnmon_renderer.doctor.trial_capture import TrialError, draw_trial_capture
from attnmon_renderer.terminal import ago, harmless


@pytest.fixture(scope="module")
def closed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two captures, closed in order; to be read only."""
    folder = tmp_path_factory.mktemp("closed")
    model = LanguageModel()
    with LightweightAttentionMonitor(folder, 1) as monitor:
        for step in range(2):
            monitor.log_attention(model, batch(), step=step, loss=0.25, epoch=3)
    return folder


@pytest.fixture
def run(closed_run: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(closed_run, tmp_path / "run")


def changed(folder: Path, **figures: Any) -> None:
    """Put other figures into a summary, as a run that went otherwise would have left it."""
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | figures))


def test_status_tells_of_a_run_that_was_closed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", str(run)]) == 0
    said = capsys.readouterr().out
    assert "2 captured, 2 rendered, 0 dropped, 0 failed" in said
    assert "step 1, epoch 3, loss 0.25" in said
    assert f"process {os.getpid()}, 2 steps logged" in said
    for row in ("state         closed", "processes     none"):
        assert row in said
    assert "!" not in said


def test_status_tells_of_a_run_that_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While it runs its processes are alive; once they are gone, that is said, and code 1."""
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
        assert main(["status", str(tmp_path), "--json"]) == 0
        running = strict_json(capsys.readouterr().out)
    assert (running["state"], running["trouble"]) == ("running", [])
    assert running["alive"]
    assert all(running["alive"].values())
    gone = subprocess.Popen(["true"])
    gone.wait()
    changed(tmp_path, state="running", pids=[gone.pid])
    assert main(["status", str(tmp_path)]) == 1
    assert "none of the renderer's processes is alive" in capsys.readouterr().out


def test_a_run_is_seen_from_its_construction_whenever_the_renderer_gets_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        pid = monitor._session._connection.renderer.process.pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGSTOP)
        try:
            assert main(["status", str(tmp_path), "--json"]) == 0
        finally:
            os.kill(pid, signal.SIGCONT)
    running = strict_json(capsys.readouterr().out)
    assert (running["state"], running["captured"], running["trouble"]) == ("running", 0, [])
    assert running["alive"] == {str(pid): True}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (
            {"newest_picture": None, "lag": 0.25},
            "no picture, the last capture written 0.2 s after its step",
        ),
        ({"newest_picture": 1e9, "lag": 2.25}, "days old, drawn 2.2 s after its step"),
        (
            {"starved": True, "state": "running", "pids": [os.getpid()]},
            "training keeps every core busy",
        ),
        ({"starved": True, "competed_seconds": 1.5}, "1.500 s taken by drawing"),
    ],
)
def test_status_tells_how_old_the_newest_picture_is_and_what_slows_drawing_down(
    figures: dict[str, Any], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run, **figures)
    assert main(["status", str(run)]) == 0
    assert words in (told := capsys.readouterr().out)
    assert ("every core" in told) == ("state" in figures), "what has ended competes with nothing"


def test_a_run_that_ended_before_a_step_was_due_is_no_trouble(run: Path) -> None:
    changed(run, captured=0, steps=99, interval=100)
    assert main(["status", str(run)]) == 0


def test_status_does_not_judge_processes_of_another_machine(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run, state="running", pids=[1 << 22], host="elsewhere")
    assert main(["status", str(run)]) == 0
    assert f"{1 << 22} on elsewhere" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"state": "trainer lost"}, "ended without closing the monitor"),
        ({"failed": 3, "errors": ["capture 1: disk full"]}, "3 captures failed"),
        ({"captured": 0, "steps": 200, "interval": 100}, "200 steps were logged and none was"),
    ],
)
def test_status_exits_with_1_when_something_went_wrong(
    figures: dict[str, Any], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run, **figures)
    assert main(["status", str(run)]) == 1
    said = capsys.readouterr().out
    assert "! " in said
    assert words in said
    assert all(error in said for error in figures.get("errors", []))


def test_status_of_a_directory_without_a_run_says_what_to_give(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run)
    (tmp_path / "other").mkdir()
    assert main(["status", str(tmp_path)]) == 2
    assert "Give a monitor's save_dir" in capsys.readouterr().err
    assert main(["status", str(tmp_path / "nowhere")]) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_runs_below_a_run_are_pointed_to(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another monitor was given the same directory."""
    shutil.copytree(run, run / "monitor_2")
    assert main(["status", str(run)]) == 0
    assert f"runs below    {run / 'monitor_2'}\n" in capsys.readouterr().out
    assert main(["report", str(run)]) == 0
    assert f"not in it, a run of its own: {run / 'monitor_2'}\n" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_status_of_a_summary_that_is_none_is_2_and_no_traceback(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_bytes(content)
    assert main(["status", str(tmp_path)]) == 2
    assert "summary.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "figures",
    [
        {"captured": "many", "pids": "none", "errors": 7, "hook_seconds": None, "written": "now"},
        {"pids": [-1, 0, True, "1", None], "state": None, "failed": []},
    ],
)
def test_status_reads_figures_of_any_type(figures: dict[str, Any], run: Path) -> None:
    changed(run, **figures)
    assert main(["status", str(run)]) in (0, 1)


def test_status_passes_over_a_torn_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(run / "history.jsonl", "a") as file:
        file.write('{"metadata": {"step": 99')
    assert main(["status", str(run)]) == 0
    assert "step 1," in capsys.readouterr().out


def test_what_comes_from_files_cannot_command_the_terminal(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(run, errors=["\x1b[2J\x1b]0;owned\x07\r\n"], failed=1, state="\x1b[31m")
    main(["status", str(run)])
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "?[2J?]0;owned???" in said


def test_harmless_keeps_every_script_and_ago_chooses_its_unit() -> None:
    assert harmless("détente 注意 الانتباه") == "détente 注意 الانتباه"
    assert [ago(s) for s in (-5, 5, 119, 121, 7300, 200_000)] == [
        "0 s", "5 s", "119 s", "2 min", "2 h", "2 days",
    ]  # fmt: skip


def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["stauts"], ["status"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    assert "usage: attnmon" in capsys.readouterr().err


def test_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "Say what a run is doing now" in said
    assert "Say what this machine offers" in said


def test_the_commands_load_nothing_heavy() -> None:
    code = (
        "import contextlib, sys; from attnmon_renderer.commands import SUBCOMMANDS, main\n"
        "import attnmon_renderer.commands.renderer\n"
        "main(['status', '/nowhere'])\n"
        "loaded = lambda: {*SUBCOMMANDS} & {name.rpartition('.')[2] for name in sys.modules}\n"
        "print(*loaded())\n"
        "with contextlib.suppress(SystemExit): main(['nothing'])\n"
        "assert loaded() == {*SUBCOMMANDS}\n"
        "print(*{'torch', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "status\n\n"


def test_doctor_tries_everything_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    told = strict_json(capsys.readouterr().out)
    findings = told["findings"]
    failed = [finding for finding in findings if finding["verdict"] == "fail"]
    assert (code, told["ok"], failed) == (0, True, [])
    assert {finding["topic"] for finding in findings} == set(doctor.CHECKS)
    said = " ".join(finding["found"] for finding in findings)
    for words in (
        platform.python_version(),
        "ring of",
        "SCHED_IDLE",
        "torch 2",
        "one capture drawn",
    ):
        assert words in said


def test_doctor_says_what_failed_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_ring(wanted: int) -> None:
        raise RingError("no shared memory to be had")

    monkeypatch.setattr(machine, "make_ring", no_ring)
    for slow in ("attention", "renderer", "priority", "forks"):
        monkeypatch.delitem(doctor.CHECKS, slow)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "fail  shared memory  RingError: no shared memory to be had" in said
    assert "Failed: shared memory." in said
    assert "pass  sockets" in said


def test_the_trial_notices_a_renderer_that_cannot_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pictures cannot be written, for real: their directory's name is taken by a file."""
    from attnmon_renderer.doctor import trial_capture

    whole = trial_capture._render_in

    def obstructed(folder: Path) -> str:
        (folder / "step_0").write_text("in the way")
        return whole(folder)

    monkeypatch.setattr(trial_capture, "_render_in", obstructed)
    with pytest.raises(TrialError, match="encoder_layer0_self_attn"):
        draw_trial_capture()


@pytest.mark.parametrize(
    ("text", "expected"), [("2,3", {2, 3}), ("4-7", {4, 5, 6, 7}), ("0,2-3", {0, 2, 3})]
)
def test_processors_are_listed_as_taskset_lists_them(text: str, expected: set[int]) -> None:
    assert renderer_command.cpu_list(text) == expected


@pytest.mark.parametrize(
    "arguments", [["--cpus", "x"], ["--cpus", "3-1"], ["--grace", "long"], ["--nonsense"]]
)
def test_the_renderer_s_wrong_usage_is_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        renderer_command.main(arguments)
    assert ended.value.code == 2
    assert "usage: attnmon-renderer" in capsys.readouterr().err


def test_processors_that_are_not_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert renderer_command.main(["--cpus", "0,4095"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "attnmon-renderer: --cpus 4095: there are only the processors "
        f"0 … {(os.cpu_count() or 1) - 1}\n"
    )


@pytest.mark.parametrize("command", ["report", "render", "renderer"])
def test_no_command_makes_a_folder_at_the_root_of_the_file_system(
    command: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path("/attnmon-no-such-folder")
    sockets = str(tmp_path / "sockets")
    code = {
        "report": lambda: main(["report", str(run), "-o", str(folder / "deep" / "report.html")]),
        "render": lambda: main(["render", str(run), "--out", str(folder)]),
        "renderer": lambda: renderer_command.main(
            ["--save-dir", str(folder / "runs"), "--socket-dir", sockets]
        ),
    }[command]()
    assert code == (1 if command == "renderer" else 2)
    said = capsys.readouterr().err
    assert f"attnmon{'-' if command == 'renderer' else ' '}{command}: {folder} is not there" in said
    assert not folder.exists()


def test_python_s_option_m_is_the_command(run: Path) -> None:
    command = [sys.executable, "-m", "attnmon", "status", "--json", str(run)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0
    assert json.loads(ran.stdout)["state"] == "closed"


def test_the_renderer_shows_live_lines_on_a_terminal(tmp_path: Path) -> None:
    """In a pseudo-terminal: a line for the training, redrawn in place, and the log above it."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys; from attnmon_renderer.commands.renderer import main; sys.exit(main())",
            "--socket-dir", str(tmp_path / "s"),
        ],
        stdout=terminal, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(terminal)
    try:
        said = read_until(controller, "listens at")
        socket = tmp_path / "s" / "renderer.sock"
        with LightweightAttentionMonitor(tmp_path / "run", 1, renderer=str(socket)) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=0)
        said += read_until(controller, "closed: 1 captured, 1 rendered")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert re.search(r"1: captured \d+, rendered \d+, dropped 0, failed 0", said)
    assert "\x1b[1A\x1b[J" in said


def read_until(descriptor: int, words: str) -> str:
    said = ""
    while words not in said:
        assert select.select([descriptor], [], [], 30)[0], f"{words!r} did not come after {said!r}"
        said += os.read(descriptor, 4096).decode()
    return said
