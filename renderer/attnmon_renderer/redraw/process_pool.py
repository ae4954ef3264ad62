"""Runs redraw jobs in several processes."""

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, ProcessPoolExecutor, wait

from attnmon_renderer.redraw.jobs import Job, run_job
from attnmon_renderer.redraw.request import JobResult
from attnmon_renderer.terminal import ProgressLine


def run_jobs(jobs: list[Job], processes: int) -> Iterator[JobResult]:
    """Yields the results as they come, while a terminal shows the progress.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process was killed.
        NothingSelected: the request selects no layer or no head.
    """
    progress = ProgressLine(len(jobs), sys.stderr)
    processes = min(processes, len(jobs))
    for result in _run_in_processes(jobs, processes) if processes > 1 else map(run_job, jobs):
        progress.advance()
        yield result
    progress.end()


def _run_in_processes(jobs: list[Job], processes: int) -> Iterator[JobResult]:
    """Run the jobs in processes forked from this one, which has loaded matplotlib for all.

    Threads would not run in parallel: most of the work holds the GIL. The fork is safe, since the
    numeric libraries are limited to one thread and nothing else runs here.
    """
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_ignore_interrupts) as pool:
        try:
            yield from _completed(pool, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _completed(pool: Executor, jobs: list[Job]) -> Iterator[JobResult]:
    pending = {pool.submit(run_job, job) for job in jobs}
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the parent process, which then ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
