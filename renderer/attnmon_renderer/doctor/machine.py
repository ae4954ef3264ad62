"""Checks of the machine: system, shared memory, memory limits, priority and sockets."""

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from attnmon.link import rendezvous
from attnmon.link.channel import Channel
from attnmon.link.ring import DEFAULT_BYTES, MEBIBYTE, TIMES_OVER, make_ring
from attnmon_renderer.doctor.finding import Finding, run_python


def check_system(topic: str) -> Iterator[Finding]:
    found = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    if os.name != "posix":
        yield Finding(topic, "fail", found, "monitors are off here, and training goes on")
        return
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(topic, "pass", f"{found}, {usable} processors")


def check_ring(topic: str) -> Iterator[Finding]:
    ring = make_ring(DEFAULT_BYTES)
    size, backend = ring.usual, ring.backend
    ring.close_descriptor()
    found = f"a ring of up to {size / MEBIBYTE:g} MiB: {backend}"
    if size < DEFAULT_BYTES:
        then = f"there was no room for {DEFAULT_BYTES / MEBIBYTE:g} MiB; long sequences may not fit"
        yield Finding(topic, "note", found, then)
    else:
        yield Finding(topic, "pass", found, "captures go through it; what is used is reserved")


def check_memory(topic: str) -> Iterator[Finding]:
    shm = Path("/dev/shm")
    if shm.is_dir():
        disk = shutil.disk_usage(shm)
        free = f"/dev/shm: {disk.free >> 20} of {disk.total >> 20} MiB free"
        then = f"used if a ring has room {TIMES_OVER} times over, else left to DataLoader workers"
        yield Finding(topic, "pass", free, then)
    limit = _memory_limit()
    yield Finding(topic, "pass", f"memory limit of this control group: {limit}")


def _memory_limit() -> str:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = Path("/sys/fs/cgroup", name).read_text().strip()
        except OSError:
            continue
        return f"{int(text) >> 20} MiB" if text.isdigit() and int(text) < 1 << 50 else "none"
    return "none seen"


def check_priority(topic: str) -> Iterator[Finding]:
    module = "attnmon_renderer.supervision.scheduling.priority"
    level = run_python(f"from {module} import yield_to_training; print(yield_to_training())")
    if level == "idle":
        yield Finding(topic, "pass", "SCHED_IDLE", "drawing gets only what nobody else wants")
    elif level == "nice 19":
        then = "SCHED_IDLE is refused here; drawing costs a little more on a busy machine"
        yield Finding(topic, "note", level, then)
    else:
        yield Finding(topic, "fail", level, "drawing competes with training; try max_workers=1")
    if _read_text("/proc/sys/kernel/sched_autogroup_enabled") == "1":
        then = "the renderer stays in the training's session, or autogroup would raise its share"
        yield Finding(topic, "pass", "autogroup is on", then)


def check_sockets(topic: str) -> Iterator[Finding]:
    ours, theirs = Channel.pair()
    with open(os.devnull, "rb") as file:
        try:
            ours.send(b"across", [file.fileno()])
            packet = theirs.receive()
        finally:
            ours.close()
            theirs.close()
    for descriptor in packet.descriptors if packet else ():
        os.close(descriptor)
    if packet is None or packet.data != b"across" or len(packet.descriptors) != 1:
        raise OSError("a message with a descriptor did not arrive")
    kind = "packets" if rendezvous.KIND.name == "SOCK_SEQPACKET" else "a stream"
    yield Finding(topic, "pass", f"{kind}; descriptors travel")
    yield Finding(topic, "pass", _find_listener())


def _find_listener() -> str:
    for folder in rendezvous.folders():
        try:
            rendezvous.connect(folder / rendezvous.SOCKET_NAME).close()
        except OSError:
            continue
        return f"an attnmon-renderer listens in {folder}; renderer='attach' would use it"
    return "no attnmon-renderer listens; only renderer='attach' would need one"


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
