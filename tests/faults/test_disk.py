"""A disk that fails, is full or hangs: captures are counted, and drawing goes on after it."""

import os
import time
from pathlib import Path

import pytest
import torch
from support.namespaces import small_disk_command
from support.outputs import check_outputs, history, summary
from support.project import TESTS
from support.renderer_boot import run_before_serving
from support.training_process import (
    run_training,
    wait_until_closed,
    wait_until_rendered,
    wait_until_settled,
)

from attnmon import TrainingAttentionMonitor
from attnmon.link.ring import SMALLEST_BYTES

pytestmark = pytest.mark.usefixtures("renderers_are_new_interpreters")

WELL = 2
"""Captures that must succeed in a row at the end, when no call is left to fail."""


def capture(monitor: TrainingAttentionMonitor, step: int) -> None:
    monitor.record("decoder.0", weights=torch.full((1, 2, 5, 5), 0.2))
    monitor.log_attention(step=step, loss=1.0)


def free_slots(monitor: TrainingAttentionMonitor) -> tuple[int, int]:
    producer = monitor._session._producer
    assert producer is not None
    return producer.allocator.pool.free_count, producer.allocator.pool.count


@pytest.mark.parametrize("role", ["worker", "recorder"])
@pytest.mark.parametrize("on", [False, True], ids=["once", "and all after it"])
def test_the_nth_call_that_writes_fails_for_every_n(
    role: str, on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails call 1 in one capture, call 2 in the next, until a capture has fewer calls."""
    log, folder = tmp_path / "log", tmp_path / "out"
    run_before_serving(
        monkeypatch,
        f"""
        from support.failing_syscalls import fail_writes_of
        fail_writes_of({role!r}, {on}, {str(log)!r})
        """,
    )
    with TrainingAttentionMonitor(
        folder, 1, max_workers=1, save_raw_weights=True, max_overhead=None
    ) as monitor:
        captures = 0
        while monitor._session.accounts()["rendered"] < WELL:
            capture(monitor, captures)
            captures += 1
            wait_until_settled(monitor)
        free, count = free_slots(monitor)
        assert free == count
    failed = [line.split()[1] for line in log.read_text().splitlines()]
    assert len(failed) > 9, failed
    assert {"os.open", "write", "os.fsync", "os.replace"} <= set(failed)
    check_outputs(folder)
    figures = summary(folder)
    assert (figures["captured"], figures["rendered"]) == (captures, WELL)
    assert figures["errors"]
    whole = [step for step in range(captures) if is_whole(folder, step)]
    assert len(whole) >= WELL
    assert captures - 1 in whole, "it does not go on when the disk does"


def is_whole(folder: Path, step: int) -> bool:
    names = {"decoder_layer0_self_attn.png", "statistics.json", "attention_weights.safetensors"}
    there = {path.name for path in (folder / f"step_{step}").glob("*")}
    return names <= there and step in [line["metadata"]["step"] for line in history(folder)]


def test_drawing_goes_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    """A disk of one mebibyte: what does not fit is counted, and what was there stays whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    ran = run_training(
        f"""
        from pathlib import Path
        from support.training_process import wait_for
        monitor = TrainingAttentionMonitor(
            "{disk}/out", 1, None, ["heatmap", "multi_head", "statistics"], max_overhead=None
        )
        def log(step):
            monitor.log_attention(LanguageModel(), batch(), step=step)
            accounts = monitor._session.accounts
            wait_for(lambda: monitor._session.poll() or not accounts()["pending"], "settled")
        log(0)
        ballast = Path("{disk}/ballast")
        with open(ballast, "wb", 0) as file:
            try:
                while True: file.write(bytes(4096))
            except OSError: pass
        for step in range(1, 4): log(step)
        assert monitor._session.accounts()["failed"] == 3, monitor._session.accounts()
        ballast.unlink()
        log(4)
        accounts = monitor.close()
        assert (accounts["rendered"], accounts["failed"]) == (2, 3), accounts
        from support.outputs import check_outputs, summary, tensorboard
        check_outputs(Path("{disk}/out"))
        assert any("No space left" in error for error in summary(Path("{disk}/out"))["errors"])
        scalars = tensorboard(Path("{disk}/out")).Scalars("attention/decoder_layer0_self_mean")
        assert {{event.step for event in scalars}} >= {{0, 4}}
        """,
        prefix=small_disk_command("1m", disk),
        PYTHONPATH=str(TESTS),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr


def test_the_last_summary_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No later summary would make up for it."""
    run_before_serving(
        monkeypatch,
        """
        import os
        replace, left = os.replace, iter(range(3))
        def replaced(source, target, src_dir_fd, dst_dir_fd):
            file = f"/proc/self/fd/{src_dir_fd}/{source}"
            if target == "summary.json" and b'"closed"' in open(file, "rb").read():
                if next(left, None) is not None: raise OSError(28, "No space left on device")
            replace(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        os.replace = replaced
        """,
    )
    with TrainingAttentionMonitor(tmp_path, 1) as monitor:
        capture(monitor, 0)
    check_outputs(tmp_path)
    assert summary(tmp_path)["state"] == "closed"


@pytest.mark.parametrize("role", ["worker", "recorder"])
def test_a_disk_that_hangs_keeps_nobody_waiting(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captures are dropped when the ring is full, `close` returns, and the rest is drawn later."""
    release = tmp_path / "release"
    run_before_serving(
        monkeypatch,
        f"""
        import os, sys, time
        fsync = os.fsync
        def hanging(descriptor):
            while "attnmon_renderer.{role}" in sys.modules and not os.path.exists("{release}"):
                time.sleep(0.02)
            fsync(descriptor)
        os.fsync = hanging
        """,
    )
    monitor = TrainingAttentionMonitor(
        tmp_path / "out", 1, max_overhead=None, ring_bytes=SMALLEST_BYTES
    )
    for step in range(25):
        capture(monitor, step)
    assert monitor._session.counters.hook_seconds < 5
    started = time.monotonic()
    accounts = monitor.close(timeout=0.5)
    assert time.monotonic() - started < 10
    assert accounts["dropped"] > 0
    assert accounts["pending"] == 25 - accounts["dropped"]
    release.touch()
    wait_until_closed(tmp_path / "out")
    check_outputs(tmp_path / "out")
    figures = summary(tmp_path / "out")
    assert (figures["rendered"], figures["dropped"]) == (accounts["pending"], accounts["dropped"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_any_more(tmp_path: Path) -> None:
    with TrainingAttentionMonitor(tmp_path / "out", 1) as monitor:
        capture(monitor, 0)
        wait_until_rendered(tmp_path / "out", 1)
        (tmp_path / "out").chmod(0o500)
        capture(monitor, 1)
        wait_until_settled(monitor)
        (tmp_path / "out").chmod(0o700)
        capture(monitor, 2)
    assert (summary(tmp_path / "out")["rendered"], summary(tmp_path / "out")["failed"]) == (2, 1)


def test_what_a_killed_worker_left_of_a_capture_that_was_given_up_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_before_serving(
        monkeypatch,
        """
        import os, signal
        replace = os.replace
        def replaced(source, target, **folders):
            place = os.readlink(f"/proc/self/fd/{folders['dst_dir_fd']}")
            if place.endswith("step_1"): os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target, **folders)
        os.replace = replaced
        """,
    )
    with TrainingAttentionMonitor(tmp_path, 1, visualization_types=["heatmap"]) as monitor:
        for step in range(3):
            capture(monitor, step)
    check_outputs(tmp_path)
    assert (summary(tmp_path)["rendered"], summary(tmp_path)["failed"]) == (2, 1)
    assert "SIGKILL, 2 times" in summary(tmp_path)["errors"][0]
