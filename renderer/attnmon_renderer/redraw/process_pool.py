"""Tasks done by several processes at once."""

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait

from attnmon_renderer.redraw.jobs import Job, attempt
from attnmon_renderer.redraw.request import JobResult
from attnmon_renderer.terminal import ProgressLine


def done(tasks: list[Job], jobs: int) -> Iterator[JobResult]:
    """All outcomes, as they come, while a terminal shows how far they are.

    Raises `concurrent.futures.process.BrokenProcessPool` when a process is killed.
    """
    progress = ProgressLine(len(tasks), sys.stderr)
    jobs = min(jobs, len(tasks))
    for outcome in _in_processes(tasks, jobs) if jobs > 1 else map(attempt, tasks):
        progress.advance()
        yield outcome
    progress.end()


def _in_processes(tasks: list[Job], jobs: int) -> Iterator[JobResult]:
    """In processes forked from this one, which has loaded matplotlib for all of them.

    Threads would take turns: most of the work holds the GIL. Nothing else runs here that a fork
    could tear apart, since the numeric libraries are kept to one thread.
    """
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, context, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            yield from _as_they_come(pool, tasks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _as_they_come(pool: Executor, tasks: list[Job]) -> Iterator[JobResult]:
    pending = {pool.submit(attempt, task) for task in tasks}
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
