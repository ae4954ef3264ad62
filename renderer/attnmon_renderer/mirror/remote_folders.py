"""Gives temporary copies of runs in a bucket to what reads directories.

A copy that is followed is kept up to date as long as it is used. Readers go by the bucket's index.
"""

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attnmon.link.bucket_url import check_bucket_url
from attnmon_renderer.storage import paths, regular_files
from attnmon_renderer.storage.copies import copy_of
from attnmon_renderer.storage.run_reader import NoRun

FOLLOW_SECONDS = 5.0
"""How often a bucket is looked at for news."""
ACCOUNTS = ("summary.json", "run.json", "rank.json", "history.jsonl", "alerts.jsonl")


def is_account(name: str) -> bool:
    """Return whether a file tells how a run goes, without any map or picture."""
    return name.rpartition("/")[2] in ACCOUNTS


def is_not_raw(name: str) -> bool:
    """Return whether a file is anything but raw weights, which are large and for `render` only."""
    return name.rpartition("/")[2] != paths.RAW_WEIGHTS


@contextmanager
def local_copy(url: str, wanted: Callable[[str], bool], *, follow: bool) -> Iterator[Path]:
    """Give a temporary copy of the wanted files of the runs at a URL. Raises `NoRun`.

    Args:
        follow: keep the copy up to date while the block runs.
    """
    try:
        url = check_bucket_url(url)
    except ValueError as error:
        raise NoRun(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="attnmon-") as above, contextlib.ExitStack() as stack:
        folder = regular_files.resolved(above) / (url.rpartition("/")[2] or "run")
        stack.enter_context(copy_of(url, folder))
        bring = _bringing(url, folder, wanted)
        if follow:
            stack.enter_context(repeating(bring))
        yield folder


def _bringing(url: str, folder: Path, wanted: Callable[[str], bool]) -> Callable[[], None]:
    """Bring the runs at a URL; return what brings what is new. Raises `NoRun`."""
    from attnmon_renderer.mirror.buckets.bucket import BucketError, NoSuchObject
    from attnmon_renderer.mirror.copying import downloads

    try:
        bringing = downloads(url, folder, wanted)
        for each in bringing:
            each.bring()
    except (BucketError, NoSuchObject, OSError, ValueError) as error:
        raise NoRun(f"{url} cannot be read: {error}") from error

    def bring() -> None:
        with contextlib.suppress(BucketError, NoSuchObject, OSError, ValueError):  # next time
            for each in bringing:
                each.bring()

    return bring


@contextmanager
def repeating(bring: Callable[[], None]) -> Iterator[None]:
    """Call a function again and again, in a thread, while the block runs."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(FOLLOW_SECONDS):
            bring()

    thread = threading.Thread(target=repeat, name="attnmon: bucket", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
