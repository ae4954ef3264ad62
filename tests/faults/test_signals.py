"""Signals and sudden ends of the training: its code decides, and what was announced is drawn."""

import contextlib
import os
import pty
import select
import signal
import textwrap
import time
from pathlib import Path

import pytest
from support.forked_script import ForkedScript, PipedScript
from support.namespaces import namespace_command
from support.outputs import check_outputs, history, summary
from support.project import TESTS
from support.training_process import (
    PATIENCE,
    renderer_pids,
    run_training,
    wait_for,
    wait_until_closed,
)

TRAINING = f"""
import os, signal, sys, time
sys.path.insert(0, {str(TESTS)!r})
import torch
from support.models import LanguageModel, batch
from support.training_process import renderer_pids, wait_until_rendered, wait_for
from attnmon import TrainingAttentionMonitor
from pathlib import Path
folder = Path(sys.argv[1])
monitor = TrainingAttentionMonitor(folder, 1, max_overhead=None)
model = LanguageModel()
def log(*steps):
    for step in steps: monitor.log_attention(model, batch(), step=step)
def train_on():
    # One long sleep would miss a signal that comes just before it: Python looks for one between
    # instructions, and then sleeps to the end (1 in 4,000 on a busy machine).
    while True: time.sleep(0.05)
"""
IN_THE_FOREGROUND = """
import fcntl, os, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
"""


def start(tmp_path: Path, body: str) -> PipedScript:
    return PipedScript(TRAINING + textwrap.dedent(body), str(tmp_path))


def drawn(folder: Path) -> list[int]:
    """Returns the steps of the history, in its order."""
    if not (folder / "history.jsonl").exists():
        return []
    return [line["metadata"]["step"] for line in history(folder)]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os._exit(0)", 0),
        ("os.abort()", -signal.SIGABRT),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    ],
    ids=["os._exit", "abort", "segmentation fault"],
)
def test_whatever_ends_the_training_what_it_announced_is_drawn(
    end: str, code: int, tmp_path: Path
) -> None:
    ran = run_training(
        f"""
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        model = LanguageModel()
        for step in range(5):
            monitor.log_attention(model, batch(), step=step)
        {end}
        """
    )
    assert ran.returncode == code
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert summary(tmp_path)["state"] == "trainer lost"
    assert drawn(tmp_path) == list(range(5))


@pytest.mark.parametrize("copies", [2, 5])
def test_a_capture_that_was_half_copied_when_the_training_was_killed_is_never_drawn(
    copies: int, tmp_path: Path
) -> None:
    """A capture is two layers of two arrays: the fifth copy is the first of the second capture."""
    ran = run_training(
        f"""
        from attnmon.serialize import ring_writer
        from attnmon.serialize.ring_writer import RingWriter
        left, copy = iter(range({copies} - 1)), torch.Tensor.copy_
        def copied(target, source, *given, **more):
            if next(left, None) is None:
                target.view(-1)[: target.numel() // 2] = 7e7
                os.kill(os.getpid(), signal.SIGKILL)
            return copy(target, source, *given, **more)
        model = LanguageModel()
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        torch.Tensor.copy_ = copied
        for step in range(3):
            monitor.record("decoder.0", query=torch.rand(1, 2, 9, 4), key=torch.rand(1, 2, 9, 4))
            monitor.record("decoder.1", query=torch.rand(1, 2, 9, 4), key=torch.rand(1, 2, 9, 4))
            monitor.log_attention(step=step)
        """
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    whole = (copies - 1) // 4
    assert drawn(tmp_path) == list(range(whole))
    assert summary(tmp_path)["failed"] == 0
    assert "70000000" not in (tmp_path / "summary.json").read_text()


def test_children_that_outlive_a_killed_training_do_not_keep_its_renderer(tmp_path: Path) -> None:
    """The children are a DataLoader's workers, forked while the monitor is open."""
    ran = run_training(
        f"""
        import time
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        child = os.fork()
        if child == 0:
            for stream in (0, 1, 2): os.close(stream)
            time.sleep(600)
        print(child, flush=True)
        monitor.log_attention(LanguageModel(), batch(), step=1)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    child = int(ran.stdout)
    try:
        wait_until_closed(tmp_path)
        assert Path(f"/proc/{child}").exists(), "it has not outlived the training"
        assert summary(tmp_path)["state"] == "trainer lost"
        assert drawn(tmp_path) == [0, 1]
    finally:
        os.kill(child, signal.SIGKILL)


class Terminal:
    """A training in the foreground of a terminal, where a key is a signal to its whole group."""

    def __init__(self, folder: Path, body: str) -> None:
        ours, theirs = pty.openpty()
        self.screen = b""
        self._end = ours
        source = IN_THE_FOREGROUND + TRAINING + textwrap.dedent(body)
        self._process = ForkedScript(source, str(folder), streams=(theirs, theirs, theirs))
        os.close(theirs)

    def shows(self, words: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while words not in self.screen:
            assert time.monotonic() < deadline, self.screen
            self._read(0.1)

    def press_ctrl_c(self) -> None:
        os.write(self._end, b"\x03")

    def code(self) -> int:
        """Waits for its end while reading its output. Returns the exit code."""
        wait_for(self._has_ended, "it does not end")
        while self._read(0):
            pass
        os.close(self._end)  # earlier, this would be a hangup
        return self._process.wait()

    def _has_ended(self) -> bool:
        self._read(0.02)
        return self._process.poll() is not None

    def _read(self, seconds: float) -> bool:
        if not select.select([self._end], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # nobody has the other end open any more
            found = os.read(self._end, 4096)
            self.screen += found
            return bool(found)
        return False


def test_ctrl_c_is_the_training_s_own_and_the_renderer_draws_to_the_end(tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path,
        """
        try:
            log(*range(8))
            print("logged", flush=True)
            train_on()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.exit(4)
        """,
    )
    terminal.shows(b"logged\r\n")
    terminal.press_ctrl_c()
    terminal.shows(b"interrupted")
    assert terminal.code() == 4
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert (summary(tmp_path)["state"], drawn(tmp_path)) == ("closed", list(range(8)))
    said = terminal.screen.replace(b"^C", b"").replace(b"\r", b"").split(b"\n")
    ours = [line for line in said if b"attnmon: " in line]
    assert [line for line in said if line and line not in ours] == [b"logged", b"interrupted"]
    assert ours[0].startswith(b"attnmon: writes to")
    assert b"attnmon: 8 captured, 8 rendered, 0 dropped, 0 failed" in ours[-1]


def test_ctrl_c_twice_ends_at_once_though_the_renderer_hangs(tmp_path: Path) -> None:
    terminal = Terminal(
        tmp_path,
        """
        log(0)
        wait_until_rendered(folder, 1)
        supervisor = renderer_pids(folder)[0]
        os.killpg(supervisor, signal.SIGSTOP)
        try:
            log(1)
            print("logged", supervisor, "to the end", flush=True)
            train_on()
        finally:
            print("closing", flush=True)
            monitor.close()
        """,
    )
    terminal.shows(b"to the end")
    supervisor = int(terminal.screen.split(b"logged ")[1].split()[0])
    terminal.press_ctrl_c()
    terminal.shows(b"closing")
    time.sleep(0.3)
    started = time.monotonic()
    terminal.press_ctrl_c()
    assert terminal.code() == -signal.SIGINT
    assert time.monotonic() - started < 30, "it waited for the renderer after the second Ctrl-C"
    os.killpg(supervisor, signal.SIGCONT)
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert drawn(tmp_path) == [0, 1]


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("pass", -signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, lambda *_: (log(5), monitor.close(), os._exit(8)))", 8),
    ],
    ids=["no handler", "one that checkpoints"],
)
def test_sigterm_means_what_the_script_says(handler: str, code: int, tmp_path: Path) -> None:
    process = start(tmp_path, f"{handler}\nlog(*range(5))\nprint('x', flush=True)\ntrain_on()")
    assert process.stdout.readline() == "x\n"
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (code, "")
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert drawn(tmp_path) == list(range(6 if code == 8 else 5))


def test_signals_to_every_process_of_a_job_end_the_training_alone(tmp_path: Path) -> None:
    """Signals as a job scheduler sends them. The renderer draws all that was announced."""
    process = start(
        tmp_path,
        """
        log(0)
        wait_until_rendered(folder, 1)
        log(*range(1, 6))
        print("x", flush=True)
        time.sleep(99)
        """,
    )
    assert process.stdout.readline() == "x\n"
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGTERM):
        for pid in renderer_pids(tmp_path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert drawn(tmp_path) == list(range(6))
    assert summary(tmp_path)["errors"] == []


@pytest.mark.parametrize(
    ("end", "state"), [("sys.exit(6)", "closed"), ("os._exit(6)", None)], ids=["exit", "_exit"]
)
def test_in_a_container_the_training_is_the_first_process_and_takes_all_with_it(
    end: str, state: str | None, tmp_path: Path
) -> None:
    """Its end kills the renderer, so it waits. If it cannot, the files that are there are whole."""
    ran = run_training(
        f"""
        from support.training_process import wait_until_rendered
        from pathlib import Path
        assert os.getpid() == 1
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        model = LanguageModel()
        monitor.log_attention(model, batch(), step=0)
        wait_until_rendered(Path({str(tmp_path)!r}), 1)
        for step in range(1, 6):
            monitor.log_attention(model, batch(), step=step)
        {end}
        """,
        prefix=namespace_command("--pid", "--fork", "--mount-proc"),
    )
    assert (ran.returncode, ran.stderr) == (6, "")
    if state == "closed":
        check_outputs(tmp_path)
        assert drawn(tmp_path) == list(range(6))
    else:
        assert drawn(tmp_path) == list(range(len(drawn(tmp_path))))
        assert summary(tmp_path)["rendered"] >= 1
