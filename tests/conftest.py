"""Every test is followed by a look at the machine: a test that leaves something behind fails.

Looked for are processes (also those whose parent has gone), file descriptors and sockets, shared
memory with and without a name, temporary files, and folders that modules are searched for in. What
is about to end by itself gets a grace.
"""

import gc
import os
import signal
import tempfile
import time
from collections.abc import Generator, Iterator
from multiprocessing import resource_tracker
from pathlib import Path

import hypothesis
import pytest
from support.forked_renderer import renderer_server
from support.forked_script import script_server
from support.leftovers import TEST_RUN, end_processes, everything, mark, new_of

from attnmon.link.thread_limits import SINGLE_THREAD

GRACE_SECONDS = 60.0
"""A renderer ends when nobody else wants the processors; the tests beside may want them all."""
FAILED = pytest.StashKey[bool]()

hypothesis.settings.register_profile(
    "untimed", deadline=None
)  # other tests may want all processors
hypothesis.settings.load_profile("untimed")

gc.disable()  # until the tests begin: what libraries make when they are loaded stays

for name, one in SINGLE_THREAD.items():
    os.environ.setdefault(name, one)  # here and in every process from here: tests run side by side
os.environ.setdefault("TRITON_INTERPRET", "1")  # it is read when Triton is imported
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault(TEST_RUN, str(os.getppid()))


def hear_signals_as_usual() -> None:
    """Undo what the caller ignores, nohup or a shell's `&`: programs started here inherit it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
        if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
            usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(getattr(signal, name), usual)


hear_signals_as_usual()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the tests that are given more time than others, so that none is waited for."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


@pytest.fixture(scope="session", autouse=True)
def own_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary directory in which every entry comes from these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("tmp")))
        patch.setattr(tempfile, "tempdir", None)
        patch.setenv(mark(), "1")
        gc.freeze()  # the libraries are not searched for cycles after each test
        gc.set_threshold(700, 10, 1000)
        gc.enable()
        resource_tracker.ensure_running()  # it stays to the end, whichever test starts it
        with script_server(), renderer_server():
            yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


class LastLook:
    """What was there after the test before, unless what several tests share has changed since."""

    def __init__(self) -> None:
        self._found: set[str] | None = None

    def take(self) -> set[str] | None:
        found, self._found = self._found, None
        return found

    def keep(self, found: set[str]) -> None:
        self._found = found

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> None:
        self._forget_before(fixturedef)

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[object]) -> None:
        self._forget_before(fixturedef)

    def _forget_before(self, fixturedef: pytest.FixtureDef[object]) -> None:
        if fixturedef.scope != "function":
            self._found = None


last_look = LastLook()


def pytest_configure(config: pytest.Config) -> None:
    """Has it hear of all fixtures: of those of the session, a conftest does not."""
    config.pluginmanager.register(last_look)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(
    request: pytest.FixtureRequest, own_temporary_directory: None
) -> Iterator[None]:
    """Fail the test if the machine has something afterwards that it did not have before."""
    if not Path("/proc/self/fd").exists():
        yield
        return
    before = last_look.take() or everything()
    yield
    # A test that failed keeps the objects of its frames, for the traceback: no use waiting.
    failed: bool = request.node.stash[FAILED]
    now, left = wait_until_gone(before, 0.0 if failed else GRACE_SECONDS)
    if not left:
        last_look.keep(now)
    listing = "".join(f"\n  {thing}" for thing in end_processes(sorted(left)))
    if left and not failed:
        pytest.fail(f"the test left behind:{listing}", pytrace=False)


def wait_until_gone(before: set[str], seconds: float) -> tuple[set[str], set[str]]:
    """Returns what is there, and what of it was not before, once it is nothing or time is up."""
    deadline = time.monotonic() + seconds
    while (left := new_of(now := everything(), before)) and time.monotonic() < deadline:
        if not any(thing.startswith("process ") for thing in left):
            gc.collect()  # what lies in a cycle closes its descriptors only when it is found
        time.sleep(0.05)
    return now, left
