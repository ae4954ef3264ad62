"""The process that uploads a run while it goes on, and afterwards what is left.

It reads files only: neither the training nor the renderer knows how it is doing. It lives until
all is uploaded, or until `mirror_grace` after the end of the run.
"""

import select
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from attnmon.link.channel import Channel, ChannelClosed
from attnmon_renderer.mirror.buckets.bucket import Bucket, BucketError
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.journal import InUse, Journal
from attnmon_renderer.mirror.patience import Patience
from attnmon_renderer.mirror.upload_status import (
    STOPPED,
    UploadStatus,
    with_summary,
    write_into_summary,
    write_status,
)
from attnmon_renderer.mirror.uploader import Uploader

LOOK_SECONDS = 2.0
"""How often a run is looked at for news."""
DISK_SECONDS = 30.0
"""How soon to try again when the journal cannot be written."""
LOOKS_REST = 50.0
"""A look for news is followed by so many times its processor time without one: however long the
run, looking takes at most 2% of a core."""
REST_SECONDS = 3600.0
HOW_TO_GO_ON = "attnmon sync {folder} {url} sends what is missing"

Waiting = Callable[[float], bool]
"""Waits so many seconds, or until the run ends; returns whether it has ended."""


def run_mirror(channel: Channel, folder: Path, url: str, grace: float) -> None:
    """Upload a run until the other end of the channel is closed, and then what is left."""

    def wait(seconds: float) -> bool:
        try:
            if select.select([channel], [], [], seconds)[0]:
                channel.receive()
        except ChannelClosed:
            return True
        return False

    loop = MirrorLoop(folder, url, grace, wait)
    loop.run()
    while not loop.has_ended and not wait(REST_SECONDS):  # else it would be started anew
        pass


@dataclass
class MirrorLoop:
    """Uploads again and again, and waits as long as the last error asks for.

    Attributes:
        grace: seconds that it goes on after the end of the run, at most.
        wait: waits, and tells whether the run has ended.
        open: opens the bucket, and again with each change of credentials.
    """

    folder: Path
    url: str
    grace: float
    wait: Waiting
    open: Callable[[str], Bucket] = open_bucket
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _patience: Patience = field(default_factory=Patience)
    _ended: float | None = None
    """When the run had ended, by `clock`."""

    def __post_init__(self) -> None:
        self._status = UploadStatus(self.url)
        self._written: UploadStatus | None = None

    def run(self) -> None:
        """Upload to the end."""
        journal = self._take_journal()
        if journal is None:
            return
        self._tell()  # what an uploader before has left is not said of this one
        try:
            self._upload_with(journal)
        finally:
            journal.close()

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, as far as is known."""
        return self._ended is not None

    def _take_journal(self) -> Journal | None:
        """Return the journal, as soon as an earlier run's uploader has ended."""
        while True:
            try:
                return Journal(self.folder, self.url)
            except InUse as error:  # it tells by itself how it stands
                seconds, trouble = LOOK_SECONDS, str(error)
            except OSError as error:
                seconds, trouble = DISK_SECONDS, str(error)
                self._tell(last_error=trouble)
            if self._wait(seconds):
                self._tell(state="given up", last_error=trouble)
                return None

    def _upload_with(self, journal: Journal) -> None:
        uploader: Uploader | None = None
        while True:
            seconds = LOOK_SECONDS
            try:
                bucket = None if uploader and not self._patience.errors else self.open(self.url)
                if uploader is None:
                    assert bucket is not None
                    uploader = Uploader(self.folder, bucket, journal, self.clock)
                elif bucket is not None:  # credentials may be new
                    uploader.use(bucket)
                has_ended = self._ended is not None
                uploader.upload(everything=has_ended, go_on=partial(self._go_on, uploader, journal))
                self._patience.succeeded()
                journal.write()
                self._tell(uploaded=len(journal.uploads), pending=uploader.pending,
                           last_error=journal.trouble)  # fmt: skip
                seconds = max(seconds, uploader.look_seconds * LOOKS_REST)
                if has_ended and not uploader.pending:
                    self._finish(uploader)
                    return
            except BucketError as error:
                seconds = self._patience.wait_after(error.kind)
                is_first = uploader is None or not journal.uploads
                pending = 0 if uploader is None else uploader.pending
                self._tell(pending=pending, last_error=_describe(error))
                if error.kind == "taken" or (error.kind == "refused" and is_first):
                    self._stop(STOPPED, is_taken=error.kind == "taken")
                    return
            except Exception as error:  # such as a journal that cannot be written
                seconds = DISK_SECONDS
                self._tell(last_error=f"{type(error).__name__}: {error}")
            if self._wait(seconds):
                self._stop("given up")
                return

    def _go_on(self, uploader: Uploader, journal: Journal) -> bool:
        """Tell how a long upload stands; return whether there is still time."""
        self._tell(uploaded=len(journal.uploads), pending=uploader.pending)
        if self._ended is None:
            self._wait(0)
        return self._ended is None or self.clock() < self._ended + self.grace

    def _finish(self, uploader: Uploader) -> None:
        """Say in the summary that all is uploaded, and upload that."""
        last = with_summary(replace(self._status, state="complete"))
        write_into_summary(self.folder, last)
        uploader.upload(everything=True)
        self._tell(state="complete", uploaded=last.uploaded, pending=0)

    def _stop(self, state: str, *, is_taken: bool = False) -> None:
        hint = "" if is_taken else HOW_TO_GO_ON.format(folder=self.folder, url=self.url)
        error = "; ".join(filter(None, [self._status.last_error, hint]))
        self._tell(state=state, last_error=error)
        with suppress(OSError):
            write_into_summary(self.folder, self._status)

    def _wait(self, seconds: float) -> bool:
        """Wait; return whether the time after the end of the run is over."""
        if self._ended is None:
            if self.wait(seconds):
                self._ended = self.clock()
            return False
        left = self._ended + self.grace - self.clock()
        self.sleep(max(0.0, min(seconds, left)))
        return left <= 0

    def _tell(self, **news: object) -> None:
        if "uploaded" in news and news["uploaded"] != self._status.uploaded:
            news["last_upload"] = time.time()
        self._status = replace(self._status, **news)  # type: ignore[arg-type]
        if self._status != self._written:
            with suppress(OSError):
                write_status(self.folder, self._status)
                self._written = self._status


def _describe(error: BucketError) -> str:
    if error.kind == "credentials":
        return f"the credentials are refused ({error}); new ones are looked for each minute"
    if error.kind == "clock":
        return f"this machine's clock is off ({error}); nothing is accepted until it is right"
    if error.kind == "taken":
        return f"nothing is written there ({error}): give each run a URL of its own"
    if error.kind == "refused":
        return f"the bucket is not there, or may not be written to ({error})"
    return str(error)
