"""Lets commands that read directories read more than one run's directory.

The URL of a bucket stands for a temporary copy. A directory of the runs of one split model stands
for a temporary run that shows it as one.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmon_renderer.mirror.remote_folders import local_copy
from attnmon_renderer.model_ranks.rank_file import model_ranks
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.run_reader import NoRun
from attnmon_renderer.terminal import harmless

Command = Callable[[argparse.Namespace], int]


def place(given: str) -> Path | str:
    """Return what a user means by a directory on the command line: a path, or a bucket's URL."""
    return given if "://" in given else Path(given)


def reads_buckets(
    command: str, *names: str, wanted: Callable[[str], bool], follow: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator of a command's `run`, which then gets directories of runs only.

    In the arguments of these names, paths of temporary copies take the place of URLs and of split
    models; `arguments.is_copy` tells whether there was one.

    Args:
        command: its name, for errors.
        wanted: which files are copied, by their names.
        follow: keep the copies up to date while the command runs.
    """

    def decorate(run: Command) -> Command:
        def run_on_copies(arguments: argparse.Namespace) -> int:
            with contextlib.ExitStack() as copies:
                try:
                    given = {
                        name: _with_copies(getattr(arguments, name), wanted, follow, copies)
                        for name in names
                    }
                except NoRun as error:
                    print(f"attnmon {command}: {harmless(error)}", file=sys.stderr)
                    return 2
                is_copy = any(given[name] != getattr(arguments, name) for name in names)
                local = {**vars(arguments), **given, "is_copy": is_copy}
                return run(argparse.Namespace(**local))

        return run_on_copies

    return decorate


def _with_copies(
    value: Any, wanted: Callable[[str], bool], follow: bool, copies: contextlib.ExitStack
) -> Any:
    """Return an argument, or a list of them, with a path in place of each URL."""
    if isinstance(value, list):
        return [_with_copies(each, wanted, follow, copies) for each in value]
    if isinstance(value, str):
        value = copies.enter_context(local_copy(value, wanted, follow=follow))
    if isinstance(value, Path) and model_ranks(regular_files.resolved(value)):
        from attnmon_renderer.model_ranks.merged_copy import merged_copy  # it loads numpy

        return copies.enter_context(
            merged_copy(regular_files.resolved(value), wanted, follow=follow)
        )
    return value
