"""The renderer's processes crash, hang or are killed; training and accounts stay right."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest
import torch
from support.outputs import check_outputs, history, summary
from support.project import TESTS
from support.renderer_boot import run_before_serving
from support.training_process import (
    renderer_pids,
    run_training,
    wait_for,
    wait_until_closed,
    wait_until_rendered,
)

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.session import renderer_process
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW

CHILDREN = """
import os, signal, sys, time
import attnmon_renderer.supervision.child_process as children
fork, forked = children.fork, []
def instead(role, act):
    "act(run, channel), in the child, instead of run(channel)"
    def other(name, run, keep_open):
        forked.append(name)
        one = lambda channel: act(run, channel)
        return fork(name, one if name == role else run, keep_open)
    children.fork = other
def at_step(step, act):
    def acting(run, channel):
        import attnmon_renderer.worker as worker
        process = worker.process_capture
        def processed(capture, *given):
            if capture.step == step: act()
            return process(capture, *given)
        worker.process_capture = processed
        run(channel)
    instead("worker", acting)
"""
"""Code for a renderer: replaces what its children do."""


def log(monitor: TrainingAttentionMonitor, *steps: int) -> None:
    for step in steps:
        monitor.record("decoder.0", weights=torch.full((1, 2, 5, 5), 0.2))
        monitor.log_attention(step=step, loss=1.0)


@pytest.mark.parametrize(
    ("death", "how"),
    [
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("os._exit(9)", "exited with 9"),
    ],
    ids=["segmentation fault", "exit"],
)
def test_a_capture_that_takes_its_worker_down_is_given_up_and_the_others_are_drawn(
    death: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = f"def die():\n    {death}\nat_step(2, die)\n"
    run_before_serving(monkeypatch, CHILDREN + poison)
    with TrainingAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        log(monitor, 0, 1, 2, 3, 4)
    check_outputs(tmp_path)
    assert (summary(tmp_path)["rendered"], summary(tmp_path)["failed"]) == (4, 1)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [0, 1, 3, 4]
    [error] = summary(tmp_path)["errors"]
    assert how in error
    assert "2 times" in error


@pytest.mark.parametrize("role", ["worker", "recorder"])
def test_a_crash_loop_ends_and_is_told(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more processes than allowed are started, and the accounts are written all the same."""
    forks = tmp_path / "forks"
    loop = f"""
def die(run, channel):
    with open({str(forks)!r}, "a") as file: file.write("x")
    if os.path.getsize({str(forks)!r}) <= {MOST_DEATHS_IN_A_ROW}: raise ImportError("broken")
    run(channel)
instead({role!r}, die)
"""
    run_before_serving(monkeypatch, CHILDREN + loop)
    with TrainingAttentionMonitor(tmp_path / "out", 1, max_workers=1) as monitor:
        log(monitor, 0, 1, 2)
        accounts = monitor._session.accounts
        wait_for(lambda: monitor._session.poll() or accounts()["failed"] == 3, "not failed")
    wait_until_closed(tmp_path / "out")  # on a busy machine `close` may give up before
    check_outputs(tmp_path / "out")
    assert summary(tmp_path / "out")["failed"] == 3
    assert f"the {role}" in summary(tmp_path / "out")["errors"][0]
    at_last = 1 if role == "recorder" else 0
    assert forks.stat().st_size == MOST_DEATHS_IN_A_ROW + at_last


SHORT_CLOCKS = """
import attnmon_renderer.supervision.supervisor as supervisor
children.IDLE_LIMIT_SECONDS, children.CPU_LIMIT_SECONDS, supervisor.TICK_SECONDS = 1.0, 1.0, 0.1
children.LATE_SECONDS = 600.0
"""
"""A worker that is starved by the tests beside is replaced as well; it is not to be here."""


@pytest.mark.parametrize(
    "hang",
    ["os.kill(os.getpid(), signal.SIGSTOP)", "\n    while True: pass"],
    ids=["stopped", "endless loop"],
)
def test_a_worker_that_hangs_is_replaced(
    hang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "hung"
    once = f"""
def hang():
    if os.path.exists({str(mark)!r}): return
    open({str(mark)!r}, "w").close()
    {hang}
at_step(1, hang)
"""
    run_before_serving(monkeypatch, CHILDREN + SHORT_CLOCKS + once)
    with TrainingAttentionMonitor(tmp_path / "out", 1, max_workers=1) as monitor:
        log(monitor, 0, 1, 2)
    check_outputs(tmp_path / "out")
    assert summary(tmp_path / "out")["rendered"] == 3
    assert mark.exists()


def test_a_worker_that_waits_for_the_disk_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker waits uninterruptibly, as a parent in `vfork` does, for longer than the limit."""
    wait = """
def wait():
    import ctypes
    libc, stack = ctypes.CDLL(None), ctypes.create_string_buffer(1 << 16)
    top = ctypes.c_void_p((ctypes.addressof(stack) + (1 << 16)) & ~15)
    CLONE_VFORK, three_seconds = 0x4000, ctypes.c_void_p(3)
    child = libc.clone(libc.sleep, top, CLONE_VFORK | signal.SIGCHLD, three_seconds)
    assert child > 0
    os.waitpid(child, 0)
at_step(1, wait)
"""
    run_before_serving(monkeypatch, CHILDREN + SHORT_CLOCKS + wait)
    with TrainingAttentionMonitor(tmp_path, 1, max_workers=1) as monitor:
        log(monitor, 0)
        wait_until_rendered(tmp_path, 1)
        before = renderer_pids(tmp_path)
        log(monitor, 1, 2)
        wait_until_rendered(tmp_path, 3)
        assert renderer_pids(tmp_path) == before
    check_outputs(tmp_path)
    assert summary(tmp_path)["errors"] == []


def test_nobody_is_killed_because_the_training_was_stopped_for_a_while(tmp_path: Path) -> None:
    ran = run_training(
        f"""
        from pathlib import Path
        from support.training_process import wait_until_rendered, renderer_pids
        from attnmon.session import renderer_process as launch
        clocks = {(CHILDREN + SHORT_CLOCKS)!r}
        launch._BOOT = launch._BOOT.replace("serve(int", clocks + "serve(int")
        folder = Path({str(tmp_path)!r})
        monitor = TrainingAttentionMonitor(folder, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        wait_until_rendered(folder, 1)
        before = renderer_pids(folder)
        if os.fork() == 0:
            import time
            time.sleep(2.5)
            os.kill(os.getppid(), signal.SIGCONT)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.wait()
        monitor.log_attention(LanguageModel(), batch(), step=1)
        wait_until_rendered(folder, 2)
        assert renderer_pids(folder) == before, (renderer_pids(folder), before)
        monitor.close()
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path)
    assert summary(tmp_path)["errors"] == []


def test_a_renderer_that_is_stopped_for_ever_delays_nothing_but_close(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        log(monitor, 0)
        wait_until_rendered(tmp_path, 1)
        group = renderer_pids(tmp_path)[0]
        os.killpg(group, signal.SIGSTOP)
        log(monitor, *range(1, 30))
        assert monitor._counters.hook_seconds < 5
        started = time.monotonic()
        accounts = monitor.close(timeout=1)
        assert 0.5 < time.monotonic() - started < 10
        assert accounts["captured"] == 30 == accounts["rendered"] + accounts["pending"]
        os.killpg(group, signal.SIGCONT)
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)
    assert (summary(tmp_path)["state"], summary(tmp_path)["rendered"]) == ("closed", 30)


def test_a_worker_without_memory_fails_that_capture_and_draws_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = """
def limit():
    import resource
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (8 << 20), resource.RLIM_INFINITY))
at_step(1, limit)
"""
    run_before_serving(monkeypatch, CHILDREN + limit)
    with TrainingAttentionMonitor(tmp_path, 1, max_workers=1) as monitor:
        log(monitor, 0)
        monitor.record(
            "decoder.0", query=torch.randn(1, 8, 2048, 64), key=torch.randn(1, 8, 2048, 64)
        )
        monitor.log_attention(step=1)
        log(monitor, 2)
    check_outputs(tmp_path)
    assert (summary(tmp_path)["rendered"], summary(tmp_path)["failed"]) == (2, 1)
    assert "emory" in summary(tmp_path)["errors"][0], "a MemoryError, or OpenBLAS that gives up"


def test_a_map_of_16384_positions_takes_a_worker_little_memory(tmp_path: Path) -> None:
    """The whole map in float32 would take a gibibyte."""
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.record(
            "decoder.0", query=torch.randn(1, 1, 16384, 4), key=torch.randn(1, 1, 16384, 4)
        )
        monitor.log_attention(step=0)
        wait_until_rendered(tmp_path, 1)
        peaks = [peak_memory(pid) for pid in renderer_pids(tmp_path)]
    assert summary(tmp_path)["rendered"] == 1
    assert max(peaks) < 300 << 20, [peak >> 20 for peak in peaks]


def peak_memory(pid: int) -> int:
    """Returns the process's peak of memory in bytes, the ring included."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_renderer_that_was_left_to_finish_is_no_zombie_for_ever(tmp_path: Path) -> None:
    monitor = TrainingAttentionMonitor(tmp_path / "first", 1)
    log(monitor, 0)
    monitor.close(timeout=0)
    assert renderer_process._finishing
    wait_until_closed(tmp_path / "first")
    assert not renderer_process._finishing
    assert summary(tmp_path / "first")["rendered"] == 1


def test_a_test_run_that_is_killed_leaves_no_renderer(tmp_path: Path) -> None:
    """The same holds for any training that is killed with its whole process group."""
    suite = tmp_path / "test_endless.py"
    suite.write_text(
        "import time, sys\n"
        f"sys.path.insert(0, {str(TESTS)!r})\n"
        "from attnmon import TrainingAttentionMonitor\n"
        "from support.models import LanguageModel, batch\n"
        "def test_endless():\n"
        f"    monitor = TrainingAttentionMonitor({str(tmp_path / 'out')!r}, 1)\n"
        "    monitor.log_attention(LanguageModel(), batch(), step=0)\n"
        "    time.sleep(600)\n"
    )
    runner = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)],
        cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: (tmp_path / "out" / "summary.json").exists(), "it does not begin")
    os.killpg(runner.pid, signal.SIGKILL)
    runner.wait()
    wait_until_closed(tmp_path / "out")
    assert summary(tmp_path / "out")["state"] == "trainer lost"


def test_a_training_that_leaves_sigpipe_to_kill_it_outlives_its_renderer(tmp_path: Path) -> None:
    ran = run_training(
        f"""
        import time
        from support.training_process import renderer_pids, wait_until_rendered
        from pathlib import Path
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        model = LanguageModel()
        monitor.log_attention(model, batch(), step=0)
        wait_until_rendered(Path({str(tmp_path)!r}), 1)
        os.kill(renderer_pids(Path({str(tmp_path)!r}))[0], signal.SIGKILL)
        for step in range(1, 20):
            monitor.log_attention(model, batch(), step=step)
            time.sleep(0.02)
        sys.exit(5)
        """
    )
    assert ran.returncode == 5, ran.stderr
    assert ran.stderr.count("\n") == 1
    assert "the renderer has gone" in ran.stderr
    wait_until_closed(tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
def test_with_one_descriptor_left_training_goes_on(when: str, tmp_path: Path) -> None:
    exhaust = """
        import resource
        most = len(os.listdir("/proc/self/fd"))  # and the one that makes this list: one is left
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    """
    construct = f"monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)\n"
    steps = """
        model = LanguageModel()
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
        accounts = monitor.close()
        print(accounts["captured"], accounts["rendered"])
        sys.exit(5)
    """

    parts = [exhaust, construct, steps] if when == "before" else [construct, exhaust, steps]
    ran = run_training("".join(textwrap.dedent(part) for part in parts))
    expected, lines = ("0 0\n", 1) if when == "before" else ("3 3\n", 0)
    assert (ran.returncode, ran.stdout) == (5, expected), ran.stderr
    assert ran.stderr.count("\n") == lines, ran.stderr


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("sys.executable = ''", "does not know its own executable"),
        ("sys.executable = '/nowhere/python'", "No such file"),
        (
            "sys.executable = '{0}/python'; os.symlink('/bin/false', sys.executable)",
            "the renderer has gone",
        ),
        ("sys.executable = '/bin/false'", "/bin/false may be the application itself"),
    ],
    ids=["no executable", "deleted", "another", "no Python"],
)
def test_a_renderer_that_cannot_be_started_turns_the_monitor_off(
    spoil: str, reason: str, tmp_path: Path
) -> None:
    ran = run_training(
        f"""
        {spoil.format(tmp_path)}
        monitor = TrainingAttentionMonitor({str(tmp_path / "logs")!r}, 1)
        model = LanguageModel()
        import time
        for step in range(3):
            monitor.log_attention(model, batch(), step=step)
            time.sleep(0.1)
        sys.exit(5)
        """
    )
    assert ran.returncode == 5
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert reason in ran.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the limit on processes is no limit for this user")
def test_without_room_for_a_process_the_monitor_is_off_and_says_so() -> None:
    # Another user writes there: pytest keeps its own directories closed, and closes them again.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        ran = run_training(
            f"""
            import resource
            resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
            os.setgid(65534), os.setuid(54321)
            monitor = TrainingAttentionMonitor({folder + "/out"!r}, 1)
            for step in range(3):
                monitor.log_attention(LanguageModel(), batch(), step=step)
            sys.exit(5)
            """,
            HOME="/",
        )
    assert ran.returncode == 5, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert "could not be started" in ran.stderr
