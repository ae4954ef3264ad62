"""Without memory, descriptors or sockets there is another way, or the monitor is off."""

import errno
import gc
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from support.failing_syscalls import FailSyscallsOfAttnmon, SyscallFaults
from support.namespaces import namespace_command, small_disk_command
from support.outputs import check_outputs
from support.training_process import run_training, wait_for

from attnmon import LightweightAttentionMonitor
from attnmon.link.ring import DEFAULT_BYTES, FIRST_BYTES, MEBIBYTE, make_ring
from attnmon.session import renderer_process

pytestmark = pytest.mark.usefixtures("renderers_are_new_interpreters")

TRAINER_ERRORS = (
    errno.EIO, errno.ENOMEM, errno.EMFILE, errno.EAGAIN, errno.EPIPE, errno.EINTR, errno.ENOSPC,
)  # fmt: skip
IN_MEMORY = """
    ring = monitor._session._producer.ring
    before = ring.backend, ring.reserved
    for step in range(3):
        monitor.log_attention(LanguageModel(), batch(), step=step)
    assert monitor.close()["rendered"] == 3
    print(*before)
"""


@pytest.mark.parametrize(
    ("size", "memory_files"), [("1m", True), ("64m", False), ("1m", False)], ids=str
)
def test_dev_shm_may_be_small(size: str, memory_files: bool, tmp_path: Path) -> None:
    """A container gets 64 MB. The monitor uses another kind of memory or less; never SIGBUS."""
    ran = run_training(
        f"""
        if not {memory_files}: del os.memfd_create
        monitor = LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        """
        + IN_MEMORY.replace("\n    ", "\n        "),
        prefix=small_disk_command(size, Path("/dev/shm")),
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    there = "shared memory" if size == "64m" else "file"
    backend = "memory file" if memory_files else there
    reserved = DEFAULT_BYTES if backend == "file" else FIRST_BYTES
    assert ran.stdout == f"{backend} {reserved}\n"
    check_outputs(tmp_path)


def test_dev_shm_may_be_missing(tmp_path: Path) -> None:
    ran = run_training(
        f"""
        del os.memfd_create
        monitor = LightweightAttentionMonitor({str(tmp_path)!r}, 1, max_overhead=None)
        """
        + IN_MEMORY.replace("\n    ", "\n        "),
        prefix=[
            *namespace_command("--mount"),
            "sh",
            "-c",
            'mount -t sysfs none /dev/shm && exec "$@"',
            "sh",
        ],
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"file {DEFAULT_BYTES}\n"
    check_outputs(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EMFILE])
def test_where_memory_files_are_refused_another_memory_serves(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "memfd_create", refuse)
    ring = make_ring(MEBIBYTE)
    assert ring.backend == "shared memory"
    assert ring.nbytes == MEBIBYTE
    ring.close_descriptor()


def test_where_nothing_can_be_reserved_the_monitor_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory that is promised but not there would be a SIGBUS in the training later."""

    def refuse(*given: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        assert not monitor.enabled
        log(monitor, 0)
    [warning] = caplog.messages
    assert "no shared memory to be had" in warning


def log(monitor: LightweightAttentionMonitor, step: int) -> None:
    monitor.record("decoder.0", weights=torch.full((1, 2, 5, 5), 0.2))
    monitor.log_attention(step=step, loss=1.0)


RENDERER = """
import select
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement, Capture, Goodbye, decode, encode
def serve(descriptor):
    channel = Channel.from_descriptor(descriptor)
    try:
        while True:
            channel.wait()
            packet = channel.receive()
            message = packet and decode(packet.data)
            if isinstance(message, Goodbye): return
            if isinstance(message, Capture): channel.send(encode(Acknowledgement(message.sequence)))
    except ChannelClosed:
        pass
"""
"""A renderer that only acknowledges captures, and starts quickly."""


@pytest.mark.parametrize("on", [False, True], ids=["once", "and all after it"])
def test_the_nth_call_to_the_system_fails_for_every_n(
    on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the training process: construction, steps and `close` raise nothing, whatever fails."""
    boot = renderer_process._BOOT.replace(
        "from attnmon_renderer.supervision.supervisor import serve\n", RENDERER
    )
    monkeypatch.setattr(renderer_process, "_BOOT", boot)
    failed = []
    for nth in count(1):
        faults = SyscallFaults(on, TRAINER_ERRORS[nth % len(TRAINER_ERRORS) :], nth)
        with FailSyscallsOfAttnmon(faults):
            monitor = LightweightAttentionMonitor(tmp_path, 1, ring_bytes=MEBIBYTE)
            for step in range(3):
                log(monitor, step)
            accounts = monitor.close(timeout=20)
        settled = sum(accounts[name] for name in ("rendered", "dropped", "failed", "pending"))
        assert accounts["captured"] == settled, (nth, faults.failed, accounts)
        if not faults.failed:
            break
        failed.append(faults.failed[0])
        assert nth < 100, f"there is no end of calls: {failed}"
    assert accounts["rendered"] == 3
    assert {
        "shm_open",
        "fstatvfs",
        "memfd_create",
        "mmap",
        "_fork_exec",
        "sendmsg",
        "recvmsg_into",
    } <= set(failed)
    wait_for(renderer_process.none_is_finishing, "a renderer does not end")


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_the_ring_is_given_back_at_the_end_without_the_help_of_garbage_collection(
    failures: int, tmp_path: Path
) -> None:
    """An error that kept its stack frames would keep the ring."""
    gc.collect()
    gc.disable()
    try:
        options: Any = {"ring_bytes": MEBIBYTE, "on_full": "wait", "max_overhead": None}
        monitor = LightweightAttentionMonitor(tmp_path, 1, **options)
        log(monitor, 0)
        for step in range(1, 1 + failures):
            monitor.record("decoder.0", weights=torch.rand(1, 2, 500, 500))
            monitor.log_attention(step=step)
        assert monitor.close()["failed"] == failures
        mapped = Path("/proc/self/maps").read_text()
        assert "memfd:attnmon" not in mapped
        assert "/dev/shm/psm_" not in mapped
    finally:
        gc.enable()
