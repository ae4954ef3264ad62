"""Runs tests side by side, in forks of the process that has collected them.

Collecting them takes ten seconds, most of it to load libraries: here that is done once. A fork
takes a few tests that lie together, then the next few that nobody has taken, until there are none.
Each has temporary files, fixtures and captured output of its own, and sends its reports to the
parent.
"""

import os
import signal
import struct
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import pytest

MOST_AT_ONCE = 50
_PART = struct.Struct("II")
"""The first test of a part, and the one after its last."""


@dataclass
class Fork:
    """A process that runs tests."""

    pid: int
    reports: Connection
    test: str = ""
    """The test that it has begun last."""


def run_side_by_side(session: pytest.Session, number: int) -> bool:
    """Runs the session's tests in this number of processes. Returns True, as the hook wants it."""
    taking = _offer(list(_parts(session.items, number)))
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    forks = [_start(session, taking, each) for each in range(number)]
    ended = set[str]()
    by_end = {fork.reports: fork for fork in forks}
    while by_end:
        for reports in wait(list(by_end)):
            assert isinstance(reports, Connection)
            if not _hear(session, by_end[reports], ended):
                del by_end[reports]
        if session.shouldfail:
            _take_all(taking)
    os.close(taking)
    ends = [_end_of(fork) for fork in forks]
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    _report_missing(session, ended, "; ".join(filter(None, ends)))
    return True


def _parts(items: list[pytest.Item], number: int) -> Iterator[tuple[int, int]]:
    """Yields the tests to be taken at once: one by one those that take long, and the last."""
    first = 0
    while first < len(items):
        takes_long = items[first].get_closest_marker("timeout") is not None
        several = min(MOST_AT_ONCE, (len(items) - first) // (8 * number))
        following = first + (1 if takes_long else max(1, several))
        yield first, following
        first = following


def _offer(parts: list[tuple[int, int]]) -> int:
    """Returns a pipe of which every read takes a part that nobody else gets."""
    taking, offering = os.pipe()
    os.write(offering, b"".join(_PART.pack(*part) for part in parts))
    os.close(offering)
    return taking


def _take_all(taking: int) -> None:
    while os.read(taking, _PART.size):
        pass


def _start(session: pytest.Session, taking: int, number: int) -> Fork:
    first = os.read(taking, _PART.size)
    receiving, sending = Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    if (pid := os.fork()) == 0:
        receiving.close()
        _be(session, taking, first, sending, number)
    sending.close()
    return Fork(pid, receiving)


def _hear(session: pytest.Session, fork: Fork, ended: set[str]) -> bool:
    """Hands on what the fork has sent. Returns whether there may be more."""
    try:
        what, data = fork.reports.recv()
    except EOFError:
        return False
    hook = session.config.hook
    if what == "begins":
        fork.test = data
        return True
    report = hook.pytest_report_from_serializable(config=session.config, data=data)
    hook.pytest_runtest_logreport(report=report)
    if report.when == "teardown":
        ended.add(report.nodeid)
        hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)
    return True


def _end_of(fork: Fork) -> str:
    """Waits for its end. Returns what was wrong with it; empty if nothing was."""
    status = os.waitstatus_to_exitcode(os.waitpid(fork.pid, 0)[1])
    fork.reports.close()
    how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return f"a process ended by {how} in {fork.test}" if status else ""


def _report_missing(session: pytest.Session, ended: set[str], why: str) -> None:
    """Has each test fail that was not run to its end."""
    for item in session.items:
        if item.nodeid not in ended:
            session.config.hook.pytest_runtest_logreport(
                report=pytest.TestReport(
                    item.nodeid, item.location, {}, "failed", f"not run to its end: {why}", "call"
                )
            )


# In a fork


class Reporter:
    """Sends what happens to the parent."""

    def __init__(self, config: pytest.Config, sending: Connection) -> None:
        self._config = config
        self._sending = sending

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._sending.send(("begins", nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        hook = self._config.hook
        data = hook.pytest_report_to_serializable(config=self._config, report=report)
        self._sending.send(("report", data))


def _be(
    session: pytest.Session, taking: int, part: bytes, sending: Connection, number: int
) -> NoReturn:
    status = 1
    try:
        _leave_what_is_the_parents(session.config, number)
        session.config.pluginmanager.register(Reporter(session.config, sending))
        _run(session, _indices(taking, part))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _leave_what_is_the_parents(config: Any, number: int) -> None:
    """Has this process write into files and folders of its own, and nothing to the terminal."""
    capturing = config.pluginmanager.getplugin("capturemanager")
    capturing.stop_global_capturing()
    capturing.start_global_capturing()
    capturing.suspend_global_capture()
    reporter = config.pluginmanager.getplugin("terminalreporter")
    nothing = open(os.devnull, "w")  # noqa: SIM115 it stays to the end
    reporter._tw = type(reporter._tw)(nothing)
    folder = config._tmp_path_factory.getbasetemp() / f"fork{number}"
    folder.mkdir(mode=0o700)
    config._tmp_path_factory._basetemp = folder


def _indices(taking: int, part: bytes) -> Iterator[int]:
    while part:
        yield from range(*_PART.unpack(part))
        part = os.read(taking, _PART.size)


def _run(session: pytest.Session, indices: Iterator[int]) -> None:
    index = next(indices, None)
    while index is not None and not session.shouldfail:
        following = next(indices, None)
        item = session.items[index]
        nextitem = None if following is None else session.items[following]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        index = following
