"""Copies runs between directories and buckets, and compares them: `attnmon sync`."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import google_crc32c

from attnmon_renderer.mirror.bucket_index import NAME as INDEX
from attnmon_renderer.mirror.bucket_index import IndexReader
from attnmon_renderer.mirror.buckets.bucket import BLOCK_BYTES, NoSuchObject, get
from attnmon_renderer.mirror.buckets.open_bucket import open_bucket
from attnmon_renderer.mirror.journal import Journal, was_uploaded_from
from attnmon_renderer.mirror.run_contents import RunContents, belongs_to_run, grows, run_id
from attnmon_renderer.mirror.uploader import Uploader
from attnmon_renderer.mirror.uploads import Upload, UploadedFile, is_plain_name
from attnmon_renderer.storage import atomic_files, earlier_runs, regular_files
from attnmon_renderer.storage.run_reader import DEEPEST_RUN, find_runs

MOST_TRIES = 5
"""How often a run is looked at again because it goes on meanwhile."""

Wanted = Callable[[str], bool]
"""Tells by a file's name whether it is to be copied."""


@dataclass(slots=True)
class Copied:
    """What was copied."""

    files: int = 0
    size: int = 0
    """In bytes."""
    damages: list[str] = field(default_factory=list)
    """A line for each object that is not as the index says."""


def upload_run(folder: Path, url: str) -> Copied:
    """Upload all of a run. Raises `BucketError`, `InUse`, OSError."""
    journal = Journal(folder, url)
    try:
        uploader = Uploader(folder, open_bucket(url), journal)
        for _ in range(MOST_TRIES):
            uploader.upload(everything=True)
            if not uploader.pending:
                break
        return Copied(uploader.sent.objects, uploader.sent.data_bytes)
    finally:
        journal.close()


def everything(name: str) -> bool:
    """Return that any file is wanted."""
    return True


class NotAsIndexed(Exception):
    """An object is not as the index says: it is being replaced, or damaged."""


class Download:
    """Brings a run from a bucket into a directory; again, it brings only what is new.

    Args:
        wanted: which files; all, if it is not given.
    """

    def __init__(self, url: str, folder: Path, wanted: Wanted = everything) -> None:
        self.url = url
        self._bucket = open_bucket(url)
        self._reader = IndexReader(self._bucket)
        self._folder = folder
        self._wanted = wanted
        self._known: dict[str, UploadedFile] = {}

    def refuse_other_run(self) -> None:
        """Raise ValueError where the directory holds another run than the bucket."""
        self._reader.read()
        here = run_id(self._folder)
        if here and here != self._reader.run:
            raise ValueError(
                f"{self._folder} holds another run, {here}, than {self.url}, {self._reader.run}: "
                "give another directory"
            )

    def bring(self) -> Copied:
        """Copy what is new. In the directory that was uploaded, what is there stays as it is.

        Raises `BucketError`, `NoSuchObject`, ValueError, OSError.
        """
        copied = Copied()
        files = self._reader.read()
        is_source = was_uploaded_from(self._folder)
        for name in filter(lambda name: not belongs_to_run(name), list(files)):
            copied.damages.append(f"{name}: left out, for no run has a file of this name")
            del files[name]
        order = sorted(files, key=lambda name: (grows(name), name == "summary.json", name))
        for name in filter(self._wanted, order):
            if self._known.get(name) == files[name] or self._is_here(name, files[name]):
                continue
            if is_source and regular_files.exists(self._folder / name):
                copied.damages.append(f"{name}: kept as it is here, where the run was written")
            else:
                self._bring_file(name, files[name], copied)
        self._known = {} if copied.damages else files
        return copied

    def _is_here(self, name: str, file: UploadedFile) -> bool:
        try:
            return _differs(self._folder / name, file) is None
        except OSError:
            return False

    def _bring_file(self, name: str, file: UploadedFile, copied: Copied) -> None:
        try:
            with atomic_files.replacing(self._folder / name) as target:
                for part in file.parts:
                    self._bring_part(part, target)
        except NotAsIndexed as error:
            copied.damages.append(str(error))
        else:
            copied.files += 1
            copied.size += file.size

    def _bring_part(self, part: Upload, target: IO[bytes]) -> None:
        """Write an object to a file; it is never in memory as a whole, nor longer than told."""
        checksum = size = 0
        try:
            for block in self._bucket.blocks(part.object_name):
                checksum = google_crc32c.extend(checksum, block)
                size += len(block)
                if size > part.size:
                    break
                target.write(block)
        except NoSuchObject:
            raise NotAsIndexed(f"{part.object_name}: the bucket has no such object") from None
        if size != part.size or f"{checksum:08x}" != part.crc32c:
            raise NotAsIndexed(f"{part.object_name}: other bytes than the index says")


def check_run(folder: Path, url: str) -> list[str]:
    """Return a line for each difference between a directory and the bucket.

    Files that a disk budget has removed from the directory are none.
    Raises `BucketError`, `NoSuchObject`, ValueError.
    """
    bucket = open_bucket(url)
    files = IndexReader(bucket).read()
    objects = dict(bucket.names())
    found = [
        f"{part.object_name}: the index has {part.size:,} bytes, the bucket "
        + ("has no such object" if objects.get(part.object_name) is None
           else f"{objects[part.object_name]:,}")
        for file in files.values()
        for part in file.parts
        if objects.get(part.object_name) != part.size
    ]  # fmt: skip
    return found + list(_different_from_here(folder, files))


def _different_from_here(folder: Path, files: dict[str, UploadedFile]) -> Iterator[str]:
    for name in sorted(RunContents(folder).files()):
        if not is_plain_name(name):
            yield f"{name}: not uploaded, for its name has characters that are not"
        elif name not in files:
            yield f"{name}: not in the bucket"
        elif (difference := _differs(folder / name, files[name])) is not None:
            yield f"{name}: {difference}"


def _differs(path: Path, file: UploadedFile) -> str | None:
    """Return how a file differs from what was uploaded; None if it does not. Raises OSError."""
    with regular_files.open_to_read(path) as here:
        for part in file.parts:
            checksum, left = 0, part.size
            while left and (block := here.read(min(left, BLOCK_BYTES))):
                checksum, left = google_crc32c.extend(checksum, block), left - len(block)
            if left:
                return "shorter here than in the bucket"
            if f"{checksum:08x}" != part.crc32c:
                return "other bytes here than in the bucket"
        return "longer here than in the bucket" if here.read(1) else None


def runs_to_upload(folder: Path, url: str) -> list[tuple[Path, str]]:
    """Return the runs at and below a directory, each with its place in the bucket.

    Raises ValueError where there is none.
    """
    earlier = set(earlier_runs.folders(folder))
    runs = [run for run in find_runs(folder) if run not in earlier]
    if not runs:
        raise ValueError(f"no run in {folder}: give a monitor's save_dir")
    return [(run, "/".join((url, *run.relative_to(folder).parts))) for run in runs]


def runs_in_bucket(url: str) -> list[str]:
    """Return the places of the runs at a URL and below it, relative to it. Raises `BucketError`.

    Below it they are looked for by listing: nothing else says that they are there.
    """
    bucket = open_bucket(url)
    with contextlib.suppress(NoSuchObject):
        get(bucket, INDEX)
        return [""]
    names = (name for name, _ in bucket.names() if name.endswith(f"/{INDEX}"))
    return sorted(place for name in names if _leads_down(place := name.removesuffix(f"/{INDEX}")))


def _leads_down(place: str) -> bool:
    """Return whether a path, whatever its names, leads to a folder below."""
    parts = place.split("/")
    return place.isprintable() and len(parts) <= DEEPEST_RUN and not {"", ".", ".."} & set(parts)


def downloads(url: str, folder: Path, wanted: Wanted = everything) -> list["Download"]:
    """Return what brings each of the runs at a URL and below it.

    Raises `BucketError`, `NoSuchObject` where there is none.
    """
    runs = runs_in_bucket(url)
    if not runs:
        raise NoSuchObject(f"{url} holds no {INDEX}")
    return [Download(f"{url}/{run}" if run else url, folder / run, wanted) for run in runs]
