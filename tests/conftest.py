"""Every test is followed by a look at the machine: a test that leaves something behind fails.

Looked for are processes (also those whose parent has gone), file descriptors and sockets, shared
memory with and without a name, and temporary files. What is about to end by itself gets a grace.
"""

import gc
import os
import signal
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import pytest

GRACE_SECONDS = 5.0
MARK = f"ATTNMON_TESTED_BY_{os.getpid()}"
"""Inherited by every process started from here, whoever becomes its parent later."""
CACHES = ("torchinductor_", "matplotlib-")
"""Libraries keep these in the temporary directory for their own later use."""
SEMAPHORE = "/dev/shm/sem."
"""torch.compile keeps one for its workers to the end of the process."""
FAILED = pytest.StashKey[bool]()


def hear_signals_as_usual() -> None:
    """Undo what the caller ignores, nohup or a shell's `&`: programs started here inherit it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
            usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(getattr(signal, name), usual)


hear_signals_as_usual()


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary directory in which every entry comes from these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        patch.setenv(MARK, "1")
        resource_tracker.ensure_running()  # it stays to the end, whichever test starts it
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def leaves_nothing_behind(
    request: pytest.FixtureRequest, own_temporary_directory: None
) -> Iterator[None]:
    """Fail the test if the machine has something afterwards that it did not have before."""
    if not Path("/proc/self/fd").exists():
        yield
        return
    before = everything()
    yield
    # A test that failed keeps the objects of its frames, for the traceback: no use waiting.
    failed: bool = request.node.stash[FAILED]
    left = wait_until_gone(before, 0.0 if failed else GRACE_SECONDS)
    listing = "".join(f"\n  {thing}" for thing in end_processes(sorted(left)))
    if left and not failed:
        pytest.fail(f"the test left behind:{listing}", pytrace=False)


def wait_until_gone(before: set[str], seconds: float) -> set[str]:
    """What is there and was not before, once it is nothing or the time is up."""
    deadline = time.monotonic() + seconds
    while (left := everything() - before) and time.monotonic() < deadline:
        gc.collect()  # what lies in a cycle closes its descriptors only when it is found
        time.sleep(0.05)
    return left


def everything() -> set[str]:
    return {*processes(), *descriptors(), *shared_memory(), *mappings(), *temporary_files()}


def processes() -> Iterator[str]:
    """Our descendants, and all that carry our mark."""
    parents = {int(entry.name): parent_of(entry) for entry in Path("/proc").glob("[0-9]*")}
    for pid in parents:
        marked = f"{MARK}=1".encode() in read(f"/proc/{pid}/environ")
        if marked or os.getpid() in ancestors(pid, parents):
            yield f"process {pid}"


def parent_of(process: Path) -> int:
    after_the_name = read(f"{process}/stat").rpartition(b") ")[2].split()
    return int(after_the_name[1]) if after_the_name else 0


def ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


def descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield f"file descriptor {number}: {os.readlink(f'/proc/self/fd/{number}')}"
        except FileNotFoundError:  # the one that made the listing
            pass


def shared_memory() -> Iterator[str]:
    for name in os.listdir("/dev/shm"):
        yield f"shared memory /dev/shm/{name}"


def mappings() -> Iterator[str]:
    """Shared memory that this process has mapped, whether it still has a name or not."""
    for line in read("/proc/self/maps").decode().splitlines():
        _, _, _, _, inode, *path = line.split(maxsplit=5)
        shared = bool(path) and path[0].startswith(("/dev/shm/", "/memfd:"))
        if shared and not path[0].startswith(SEMAPHORE):
            yield f"mapping of {path[0]}, inode {inode}"


def temporary_files() -> Iterator[str]:
    for name in os.listdir(tempfile.gettempdir()):
        if not name.startswith(CACHES):
            yield f"temporary file {name}"


def read(path: str) -> bytes:
    """The file's content; nothing when its process has ended or is another user's."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def end_processes(left: Iterable[str]) -> Iterator[str]:
    """Kill those among what is left, or they disturb the tests that follow; say what they ran."""
    for thing in left:
        kind, _, pid = thing.partition(" ")
        if kind != "process":
            yield thing
            continue
        yield f"{thing}: {read(f'/proc/{pid}/cmdline').replace(bytes(1), b' ').decode()}"
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass
