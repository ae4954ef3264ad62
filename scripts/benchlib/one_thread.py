"""Starts a benchmark again with one thread for each library, where it was started with more."""

import os
import sys

from attnmon.link.thread_limits import SINGLE_THREAD


def run_on_one_thread() -> None:
    """Replace this process by one with the variables set: they are read when libraries load."""
    if not os.environ.items() >= SINGLE_THREAD.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | SINGLE_THREAD)
