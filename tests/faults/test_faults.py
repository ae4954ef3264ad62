"""Faults around a training never reach it, and no capture is lost without being counted.

Each test is one fault: real processes, real signals, real disks.
"""

import contextlib
import copy
import errno
import functools
import gc
import io
import logging
import os
import random
import selectors
import signal
import sys
import textwrap
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from safetensors.torch import load
from support.models import LanguageModel, batch
from support.outputs import check_outputs, history, summary, tensorboard
from support.tapping import is_watched
from support.training_process import (
    delete_in_use,
    renderer_pids,
    run_training,
    wait_until_closed,
    wait_until_rendered,
)

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.accounting.error_guard import ErrorGuard, logger
from attnmon.link.channel import Channel
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import LONGEST_ERROR, RunStatus, WriteResults, join_errors
from attnmon_renderer.storage import atomic_files
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW, WorkerPool


class Preempted(Exception):
    """The exception with which a user's signal handler ends a training in order."""


def raise_preempted(number: int, frame: FrameType | None) -> None:
    raise Preempted


def reset_and_raise(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Preempted


def with_state(state: str, number: int, frame: FrameType | None) -> None:
    raise Preempted(state)


class Handler:
    def __call__(self, *args: Any) -> None:
        raise Preempted


@pytest.mark.parametrize(
    "handler",
    [raise_preempted, reset_and_raise, functools.partial(with_state, "state"), Handler()],
    ids=["function", "one that resets itself", "partial", "object"],
)
def test_what_a_signal_handler_raises_reaches_the_user(handler: Callable[..., None]) -> None:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(Preempted), ErrorGuard():
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_logging_handler_that_raises_does_not_end_the_training() -> None:
    class Strict(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no warnings allowed")

    strict = Strict()
    logger.addHandler(strict)
    try:
        with ErrorGuard():
            raise ValueError("ours")
    finally:
        logger.removeHandler(strict)


def test_the_renderer_is_of_the_same_version_whatever_else_is_installed(tmp_path: Path) -> None:
    """The renderer's own path has another attnmon, as in a checkout beside an installed package."""
    for package in ("attnmon", "attnmon_renderer"):
        other = tmp_path / "installed" / package / "__init__.py"
        other.parent.mkdir(parents=True)
        other.write_text("raise ImportError('another version')")
    site = tmp_path / "sitecustomize.py"
    site.write_text(f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})")
    ran = run_training(
        f"""
        from attnmon.session import renderer_process as launch
        launch._BOOT = "import runpy; runpy.run_path({str(site)!r})\\n" + launch._BOOT
        with TrainingAttentionMonitor({str(tmp_path / "out")!r}, 1) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=0)
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert summary(tmp_path / "out")["rendered"] == 1


@pytest.mark.parametrize(
    "names",
    [
        [f"{name}.py" for name in ("json", "queue", "numpy", "matplotlib", "msgpack", "PIL")],
        ["attnmon/__init__.py", "attnmon_renderer/__init__.py"],
    ],
    ids=["files", "folders"],
)
def test_what_the_user_has_called_like_libraries_or_like_us_is_not_imported(
    names: list[str], tmp_path: Path
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise ImportError('of the user')")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n")
    ran = run_training(
        f"""
        sys.path.append({str(tmp_path)!r})
        with TrainingAttentionMonitor("out", 1) as monitor:
            monitor.log_attention(LanguageModel(), batch(), step=0)
        """,
        cwd=tmp_path,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path / "out")
    assert summary(tmp_path / "out")["rendered"] == 1


def test_weights_made_in_inference_mode_can_be_recorded(tmp_path: Path) -> None:
    with torch.inference_mode():
        weights = torch.softmax(torch.randn(2, 3, 4, 4), -1)
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.record("layer", weights=weights)
        monitor.log_attention(step=0)
    assert summary(tmp_path)["rendered"] == 1


def test_tokens_that_no_message_has_room_for_cost_no_capture(tmp_path: Path) -> None:
    tokens = ["語" * 24] * 512
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(1, 512), step=0, tokens=tokens)
        monitor.log_attention(LanguageModel(), batch(1, 5), step=1, tokens=tokens[:5])
    assert summary(tmp_path)["rendered"] == 2


@pytest.mark.parametrize("state", ["None", "closed", "no terminal at all"])
def test_closing_does_not_need_a_standard_error(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnmon.session.shutdown import DrawingProgress

    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", {"None": None, "closed": stream}.get(state, object()))
    progress = DrawingProgress(2)
    progress.show(1)
    progress.clear()


def test_the_end_is_announced_also_to_a_renderer_that_does_not_listen(tmp_path: Path) -> None:
    """The renderer's socket is full when the training closes. It must not count it as lost."""
    ran = run_training(
        f"""
        import socket, threading
        monitor = LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        renderer = monitor._session._connection.renderer.process.pid
        os.kill(renderer, signal.SIGSTOP)
        to_renderer = monitor._session._producer._channel._socket
        to_renderer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        model, tokens = LanguageModel(), batch()
        for step in range(40):
            monitor.log_attention(model, tokens, step=step)
        assert 0 < monitor._session.accounts()["dropped"] < 40
        threading.Timer(1, os.kill, (renderer, signal.SIGCONT)).start()
        accounts = monitor.close()
        assert accounts["rendered"] + accounts["dropped"] == accounts["captured"] == 40, accounts
        """
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 1), ran.stderr
    check_outputs(tmp_path)
    assert (summary(tmp_path)["state"], summary(tmp_path)["captured"]) == ("closed", 40)


def test_a_training_with_more_than_a_thousand_open_files(tmp_path: Path) -> None:
    """`select` cannot look at descriptors above 1023."""
    ran = run_training(
        f"""
        import resource
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        assert monitor.close()["rendered"] == 1
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")


INTERRUPTED = """
    from unittest.mock import Mock
    called = Mock()  # what the model itself counts is put back after an extra forward
    class Interrupted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = LanguageModel()
        def forward(self, tokens):
            called()
            if called.call_count == 5:
                signal.raise_signal(signal.SIGINT)
            return self.model(tokens)
"""


def test_ctrl_c_in_the_middle_of_a_capture_leaves_it_counted(tmp_path: Path) -> None:
    ran = run_training(
        textwrap.dedent(INTERRUPTED)
        + textwrap.dedent(f"""
        with TrainingAttentionMonitor({str(tmp_path)!r}, 1, capture="probe") as monitor:
            model = Interrupted()
            for step in range(9):
                monitor.log_attention(model, batch(), step=step)
        """)
    )
    assert ran.returncode == -signal.SIGINT, ran.stderr
    check_outputs(tmp_path)
    accounts = summary(tmp_path)
    assert (accounts["captured"], accounts["rendered"], accounts["failed"]) == (3, 2, 1)


def test_ctrl_c_while_closing_is_heard_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    ran = run_training(
        f"""
        import threading
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1)
        monitor.log_attention(LanguageModel(), batch(), step=0)
        renderer = monitor._session._connection.renderer.process.pid
        os.kill(renderer, signal.SIGSTOP)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            monitor.close(timeout=60)
        finally:
            os.kill(renderer, signal.SIGCONT)
        """
    )
    assert ran.returncode == -signal.SIGINT, ran.stderr
    assert time.monotonic() - started < 40, "it went on waiting after Ctrl-C"
    wait_until_closed(tmp_path)
    check_outputs(tmp_path)


def test_a_forked_child_neither_writes_into_the_ring_nor_says_anything(tmp_path: Path) -> None:
    ran = run_training(
        f"""
        monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 1, capture="forward")
        model = LanguageModel()
        monitor.attach(model)
        for step in range(2):
            model(batch())
            monitor.log_attention(model, batch(), step=step)
        ring = monitor._session._producer.ring
        before = ring.memory[:ring.reserved]
        child = os.fork()
        if child == 0:
            for step in range(2, 4):
                model(batch(seed=9))
                monitor.log_attention(model, batch(seed=9), step=step)
            monitor.close()
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert ring.memory[:ring.reserved] == before, "the child wrote over what is read"
        model(batch())
        monitor.log_attention(model, batch(), step=2)
        assert monitor.close()["rendered"] == 3
        """,
        PYTHONWARNINGS="error",
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_monitor_that_is_let_go_of_without_closing_is_not_taken_for_a_crash(
    tmp_path: Path,
) -> None:
    ran = run_training(
        f"""
        import gc
        def train():
            monitor = TrainingAttentionMonitor({str(tmp_path)!r}, 2)
            for step in range(3):
                monitor.log_attention(LanguageModel(), batch(), step=step)
        train()
        gc.collect()
        """,
        PYTHONWARNINGS="error",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    wait_until_closed(tmp_path)
    assert (summary(tmp_path)["state"], summary(tmp_path)["rendered"]) == ("closed", 2)


@pytest.mark.parametrize("options", [{}, {"keep_last": 2}])
@pytest.mark.parametrize("is_attached", [False, True])
def test_a_monitor_that_is_let_go_of_is_collected_and_its_renderer_ends(
    options: dict[str, Any], is_attached: bool, tmp_path: Path
) -> None:
    """The model outlives it, and is watched for the next step when it goes."""
    model = LanguageModel()
    monitor = TrainingAttentionMonitor(tmp_path, 2, max_overhead=None, **options)
    if is_attached:
        monitor.attach(model)
    for step in range(2):
        model(batch())
        monitor.log_attention(model, batch(), step=step)
    assert monitor._collector.watch.armed
    references = [weakref.ref(monitor), weakref.ref(monitor._session)]
    del monitor
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    wait_until_closed(tmp_path)
    assert summary(tmp_path)["state"] == "closed"
    model(batch())


@pytest.mark.parametrize("step", [1 << 63, -(1 << 70)])
def test_a_step_that_no_message_can_hold_does_not_keep_the_monitor_from_closing(
    step: int, tmp_path: Path
) -> None:
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=step)
        monitor.log_attention(LanguageModel(), batch(), step=1)
    check_outputs(tmp_path)
    assert summary(tmp_path)["rendered"] == 1


def test_a_loss_that_is_no_number_costs_no_capture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, given = LanguageModel(), ("0.5x", torch.ones(3), 0.5)
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        for step, loss in enumerate(given):
            monitor.log_attention(model, batch(), step=step, loss=loss, lr=[1e-3])  # type: ignore[arg-type]
    assert [line["metadata"]["loss"] for line in history(tmp_path)] == [None, None, 0.5]
    assert len(caplog.records) == 2, "one line for the loss, one for the rate"


@pytest.mark.skipif(os.name != "posix", reason="paths of bytes")
def test_names_and_paths_that_are_no_text(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    with TrainingAttentionMonitor(folder, 1, save_raw_weights=True) as monitor:
        monitor.record("a\ud800\0\n../../😀", weights=torch.softmax(torch.randn(2, 3, 4, 4), -1))
        monitor.log_attention(step=0)
    check_outputs(folder)
    assert summary(folder)["rendered"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    load((folder / "step_0" / "attention_weights.safetensors").read_bytes())


def test_the_supervisor_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The children end, unsettled captures count as failed, and the training goes on."""
    model = LanguageModel()
    monitor = TrainingAttentionMonitor(tmp_path, 1, max_overhead=None)
    monitor.log_attention(model, batch(), step=0)
    wait_until_rendered(tmp_path, 1)
    for step in range(1, 4):
        monitor.log_attention(model, batch(), step=step)
    os.kill(renderer_pids(tmp_path)[0], signal.SIGKILL)
    time.sleep(0.5)
    monitor.log_attention(model, batch(), step=4)
    accounts = monitor.close()
    settled = accounts["rendered"] + accounts["dropped"] + accounts["failed"]
    assert (accounts["captured"], accounts["pending"]) == (settled, 0)
    assert "the renderer has gone" in caplog.text
    wait_until_closed(tmp_path)
    last = summary(tmp_path)
    assert last["state"] == "renderer lost"
    assert last["off"]
    assert "the renderer has gone" in accounts["off"]
    assert last["captured"] == last["rendered"] + last["dropped"] + last["failed"]


def test_children_are_killed_at_any_moment(tmp_path: Path) -> None:
    """Each capture is drawn or counted, every file is whole, and no half-written one stays."""
    model, chance = LanguageModel(), random.Random(0)
    monitor = TrainingAttentionMonitor(
        tmp_path, 1, None, ["heatmap", "multi_head", "statistics"], max_overhead=None
    )
    monitor.log_attention(model, batch(), step=0)
    wait_until_rendered(tmp_path, 1)
    for step in range(1, 13):
        monitor.log_attention(model, batch(), step=step)
        time.sleep(chance.random() * 0.2)
        for victim in chance.sample(renderer_pids(tmp_path)[1:], 1):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
    accounts = monitor.close()
    assert accounts["captured"] == 13 == accounts["rendered"] + accounts["failed"]
    check_outputs(tmp_path)
    lines = [line["metadata"]["step"] for line in history(tmp_path)]
    assert lines == sorted(set(lines)), "in order, and none twice"


def test_events_deleted_in_the_middle_of_a_run_are_begun_anew(tmp_path: Path) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(model, batch(), step=0, loss=1.0)
        wait_until_rendered(tmp_path, 1)
        delete_in_use(tmp_path / "tensorboard")
        monitor.log_attention(model, batch(), step=1, loss=1.0)
    events = tensorboard(tmp_path)
    assert [event.step for event in events.Scalars("train/loss")] == [1]


def test_the_directory_is_deleted_or_taken_in_the_middle_of_a_run(tmp_path: Path) -> None:
    model, folder = LanguageModel(), tmp_path / "out"
    with TrainingAttentionMonitor(folder, 1) as monitor:
        monitor.log_attention(model, batch(), step=0)
        wait_until_rendered(folder, 1)
        delete_in_use(folder)
        monitor.log_attention(model, batch(), step=1)
        wait_until_rendered(folder, 2)
        (folder / "step_2").write_text("a file of the user's")
        monitor.log_attention(model, batch(), step=2)
        monitor.log_attention(model, batch(), step=3)
    check_outputs(folder)
    assert (summary(folder)["rendered"], summary(folder)["failed"]) == (3, 1)
    lines = history(folder)
    assert [line["metadata"]["step"] for line in lines] == [1, 2, 3], "what could be is there"
    assert "'step_2' in it is a file" in lines[1]["error"]
    assert (folder / "step_2").read_text() == "a file of the user's"


def test_acknowledgements_find_the_training_busy_elsewhere(tmp_path: Path) -> None:
    """The renderer does not end before the training has read all, more than a socket holds."""
    ran = run_training(
        f"""
        import time
        from attnmon.session import renderer_process as launch
        small = "import attnmon.link.channel; attnmon.link.channel._SEND_BUFFER = 2304; "
        launch._BOOT = launch._BOOT.replace("from attnmon_r", small + "from attnmon_r")
        model = LanguageModel()
        monitor = LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        for step in range(30):
            monitor.log_attention(model, batch(), step=step)
        time.sleep(4)
        accounts = monitor.close()
        assert accounts["rendered"] == accounts["captured"] == 30, accounts
        """
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    check_outputs(tmp_path)


def test_one_worker_goes_on_where_there_is_no_room_for_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = Channel.pair()
    room = iter([Child("worker", 0, ours)])

    def fork(*given: Any) -> Child:
        for child in room:
            return child
        raise BlockingIOError(errno.EAGAIN, "no room for a process")

    monkeypatch.setattr(child_process, "fork", fork)
    lost: list[str] = []
    with selectors.DefaultSelector() as selector:
        pool = WorkerPool(
            "worker", 2, print, set(), selector, lambda *_: None, lambda _, how: lost.append(how)
        )
        worker = pool.get_idle()
        assert worker is not None
        worker.assign(0)
        assert [pool.get_idle() for _ in range(9)] == [None] * 9
        assert len(lost) == MOST_DEATHS_IN_A_ROW, "it is not tried for ever"
        assert not pool.exhausted, "captures would be given up while a worker is drawing"
    ours.close()
    theirs.close()


def test_errors_without_end_still_fit_a_message() -> None:
    line = join_errors([f"picture {n}: OSError: [Errno 28] {'é' * 100}" for n in range(1000)])
    assert len(line) <= LONGEST_ERROR
    assert line.startswith("picture 0: OSError")
    assert "1000 errors" in line
    status = RunStatus(Accounts(), 0, 0, "running", (), (("語" * LONGEST_ERROR),) * 11)
    process_messages.encode(WriteResults(status, 0, line))


def test_what_a_killed_writer_left_goes_when_the_folder_is_written_to_again(tmp_path: Path) -> None:
    path = tmp_path / "step_0" / "layer [0].png"
    child = os.fork()
    if child == 0:
        with atomic_files.replacing(path) as file:
            file.write(b"half a pic")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [left.suffix for left in path.parent.iterdir()] == [".tmp"]
    atomic_files.replace(path, b"a picture")
    atomic_files.remove_orphans(path.parent)
    assert [left.name for left in path.parent.iterdir()] == ["layer [0].png"]


def test_copying_a_monitor_that_cannot_be_copied_says_nothing_more(
    tmp_path: Path,
) -> None:
    """The half-made copy is collected without output, and the original goes on."""
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        with contextlib.suppress(TypeError):
            copy.deepcopy(monitor._session)
        gc.collect()
        monitor.log_attention(LanguageModel(), batch(), step=0)
    assert summary(tmp_path)["rendered"] == 1


def test_a_monitor_enabled_after_it_was_closed_puts_nothing_on_the_model(tmp_path: Path) -> None:
    model = LanguageModel()
    monitor = TrainingAttentionMonitor(tmp_path, 1)
    monitor.close()
    monitor.enable()
    for step in range(2):
        monitor.log_attention(model, batch(), step=step)
        model(batch())
    assert not is_watched(model)
    assert not monitor.enabled
