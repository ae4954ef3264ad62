"""Ways to run a training script: without a main guard, from a pipe, with a home that is full."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, strict_json, summary, tensorboard
from support.project import TESTS
from support.training_process import run_training, wait_until_closed

from attnmon import TrainingAttentionMonitor

pytestmark = pytest.mark.usefixtures("renderers_are_new_interpreters")

SCRIPT = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
print("top level", flush=True)
from support.models import LanguageModel, batch
from attnmon import TrainingAttentionMonitor
monitor = TrainingAttentionMonitor("out", 1)
for step in range(2):
    monitor.log_attention(LanguageModel(), batch(), step=step)
"""
"""A script without `if __name__ == "__main__"` and without `close`."""


def command_for(way: str, folder: Path) -> list[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    if way == "zipapp":
        with zipfile.ZipFile(folder / "app.pyz", "w") as app:
            app.writestr("__main__.py", SCRIPT)
    package = folder / "package"
    package.mkdir()
    (package / "__main__.py").write_text(SCRIPT)
    ways = {
        "script": ["script.py"],
        "-c": ["-c", SCRIPT],
        "-m": ["-m", "package"],
        "standard input": ["-"],
        "zipapp": ["app.pyz"],
    }
    return [sys.executable, *ways[way]]


def test_a_script_s_top_level_runs_once_however_it_is_started(tmp_path: Path) -> None:
    """The renderer does not run the script again, as a process of `multiprocessing` would."""

    def started(way: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / way).mkdir()
        return subprocess.run(
            command_for(way, tmp_path / way), cwd=tmp_path / way, input=SCRIPT,
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip

    ways = ("script", "-c", "-m", "standard input", "zipapp")
    with ThreadPoolExecutor(2) as pool:
        for way, ran in zip(ways, pool.map(started, ways), strict=True):
            assert (ran.returncode, ran.stdout, ran.stderr) == (0, "top level\n", ""), way
            check_outputs(tmp_path / way / "out")
            assert summary(tmp_path / way / "out")["rendered"] == 2


def test_in_a_notebook_a_cell_starts_a_monitor_and_another_closes_it(tmp_path: Path) -> None:
    """Cells are compiled and executed one by one, in a `__main__` without a file."""
    ran = run_training(
        f"""
        del __builtins__.__dict__["quit"]
        cells = ["monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)",
                 "monitor.log_attention(LanguageModel(), batch(), step=0)",
                 "monitor.log_attention(LanguageModel(), batch(), step=1)",
                 "accounts = monitor.close()"]
        for number, cell in enumerate(cells):
            exec(compile(cell, f"<ipython-input-{{number}}>", "single"), globals())
        assert accounts["rendered"] == 2
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_who_reads_the_training_s_output_does_not_wait_for_the_renderer(tmp_path: Path) -> None:
    """The pipe ends with the training, although the renderer is stopped and still there."""
    ran = run_training(
        f"""
        from support.training_process import renderer_pids, wait_until_rendered
        from pathlib import Path
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        wait_until_rendered(Path({str(tmp_path)!r}), 1)
        group = renderer_pids(Path({str(tmp_path)!r}))[0]
        os.killpg(group, signal.SIGSTOP)
        print(group, flush=True)
        monitor.close(timeout=0)
        """
    )
    group = int(ran.stdout)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert Path(f"/proc/{group}").exists(), "the renderer was gone before"
    os.killpg(group, signal.SIGCONT)
    wait_until_closed(tmp_path)


def test_standard_streams_may_be_closed(tmp_path: Path) -> None:
    ran = run_training(
        f"""
        for stream in (0, 1, 2): os.close(stream)
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        os._exit(5 if monitor.close()["rendered"] == 1 else 6)
        """
    )
    assert ran.returncode == 5


def test_a_reader_that_goes_away_ends_the_training_as_ever(tmp_path: Path) -> None:
    """As in `python train.py | head -1`."""
    body = f"""
    import sys
    sys.path.insert(0, {str(TESTS)!r})
    from support.models import LanguageModel, batch
    from attnmon import TrainingAttentionMonitor
    monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
    for step in range(20000):
        monitor.log_attention(LanguageModel(), batch(), step=step)
        print("step", step, flush=True)
    """
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(body))
    started = time.monotonic()
    piped = subprocess.run(
        f"{sys.executable} {script} | head -1", shell=True, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert piped.stdout == "step 0\n"
    assert "BrokenPipeError" in piped.stderr
    assert "attnmon" not in piped.stderr.replace("from attnmon", "")
    assert time.monotonic() - started < 90
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)


def test_a_home_that_cannot_be_written_and_a_long_temporary_directory(tmp_path: Path) -> None:
    long = tmp_path / ("t" * 200)
    long.mkdir()
    ran = run_training(
        f"""
        with TrainingAttentionMonitor({str(tmp_path / "out")!r}, 1) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=0)
        """,
        HOME="/proc/nowhere", TMPDIR=str(long), XDG_CACHE_HOME="/proc/nowhere",
        XDG_CONFIG_HOME="/proc/nowhere", XDG_RUNTIME_DIR="",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path / "out")
    assert summary(tmp_path / "out")["rendered"] == 1
    assert not [left for left in long.iterdir() if "matplotlib" not in left.name]


def test_the_clock_and_the_steps_may_go_backwards(tmp_path: Path) -> None:
    """No duration is measured by the wall clock; files are in the order of the captures."""
    ran = run_training(
        f"""
        import time
        clock, jumps = time.time, iter((0, 86400, -86400, -86400, 0))
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        model = LanguageModel()
        for step in (5, 6, 7, 2, 3):
            jump = next(jumps)
            time.time = lambda: clock() + jump
            monitor.log_attention(model, batch(), step=step)
        accounts = monitor.close()
        assert accounts["rendered"] == 5, accounts
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path)
    assert [line["metadata"]["step"] for line in history(tmp_path)] == [5, 6, 7, 2, 3]


def test_a_monitor_may_be_made_and_closed_at_any_time(tmp_path: Path) -> None:
    """In another thread, after `close`, in an exit function and during interpreter shutdown."""
    ran = run_training(
        f"""
        import atexit, threading, time
        model = LanguageModel()
        def use(monitor):
            monitor.log_attention(model, batch(), step=0)
            monitor.close()
        def make(name): return TrainingAttentionMonitor({str(tmp_path)!r} + "/" + name, 1)
        def is_waited_for():
            frame = sys._current_frames()[threading.main_thread().ident]
            return "join" in (frame.f_code.co_name, frame.f_back.f_code.co_name)
        def in_a_thread(act):
            def run():
                while not is_waited_for(): time.sleep(0.001)
                act()
            thread = threading.Thread(target=run)
            thread.start(), thread.join()
        in_a_thread(lambda: use(make("thread")))
        made_here = make("other thread")
        in_a_thread(lambda: use(made_here))
        twice = make("twice")
        use(twice), twice.close()
        twice.log_attention(model, batch(), step=1)
        twice.record("x", weights=torch.ones(1, 1, 2, 2))
        twice.attach(model), twice.detach(), twice.capture_next()
        atexit.register(lambda: use(make("atexit")))
        class Late:
            def __init__(self): self.monitor = make("end")
            def __del__(self): use(self.monitor)
        sys.late = Late()
        """
    )
    # By the one that is closed twice.
    after_the_end = "attnmon: a step was logged after close(): nothing is captured.\n"
    assert (ran.returncode, ran.stderr) == (0, after_the_end)
    names = {"thread", "other thread", "twice", "atexit", "end"}
    assert {folder.name for folder in tmp_path.iterdir()} == names
    for name in names:
        wait_until_closed(tmp_path / name)
        check_outputs(tmp_path / name)
        assert name == "end" or summary(tmp_path / name)["rendered"] == 1


def test_data_loaders_of_every_kind_run_beside_a_monitor(tmp_path: Path) -> None:
    """Workers are forked or spawned while the monitor is open; warnings are errors."""
    ran = run_training(
        f"""
        from torch.utils.data import DataLoader, TensorDataset
        model, data = LanguageModel(), TensorDataset(torch.arange(8))
        step = 0
        with TrainingAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None) as monitor:
            for context, persistent in (("fork", False), ("fork", True), ("spawn", True)):
                loader = DataLoader(data, 2, num_workers=1, multiprocessing_context=context,
                                    persistent_workers=persistent)
                for epoch in range(2):
                    for _ in loader:
                        monitor.log_attention(model, batch(), step=step)
                        step += 1
                del loader
        assert step == 24
        """,
        PYTHONWARNINGS="error",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path)
    assert summary(tmp_path)["rendered"] + summary(tmp_path)["dropped"] == 24
    assert summary(tmp_path)["state"] == "closed"


def test_a_directory_that_was_used_before_keeps_what_is_whole(tmp_path: Path) -> None:
    """A line and an event file that a crash cut short stay as they are; nothing more is lost."""
    for first in (0, 3):
        with TrainingAttentionMonitor(tmp_path, 1) as monitor:
            for step in range(first, first + 2):
                monitor.log_attention(LanguageModel(), batch(), step=step)
        if first == 0:
            [events] = (tmp_path / "tensorboard").iterdir()
            events.write_bytes(events.read_bytes()[:-9])
            with open(tmp_path / "history.jsonl", "a") as file:
                file.write('{"metadata": {"st')
            before = {path: path.read_bytes() for path in tmp_path.glob("step_*/*")}
            before[events] = events.read_bytes()
    assert {path: path.read_bytes() for path in before} == before
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert lines.pop(2) == '{"metadata": {"st'
    assert [strict_json(line)["metadata"]["step"] for line in lines] == [0, 1, 3, 4]
    recorded = tensorboard(tmp_path).Scalars("attention/decoder_layer0_self_mean")
    assert [event.step for event in recorded] == [0, 3, 4]
