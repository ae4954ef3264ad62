"""A disk that can be filled and emptied again: a small mounted one, or a limit on file sizes."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chaoslib import processes

MEBIBYTE = 1 << 20


class Disk:
    """A memory disk mounted at `folder`."""

    def __init__(self, folder: Path, nbytes: int) -> None:
        self.folder = folder
        self._ballast = folder.joinpath(".ballast")
        folder.mkdir()
        options = f"size={nbytes},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "chaos", str(folder)], check=True)

    @contextmanager
    def full(self, mark: str) -> Iterator[None]:
        """Keep the disk full within the block."""
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY)
        try:
            size = 0
            for piece in (MEBIBYTE, 4096):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(descriptor, size, piece)
                        size += piece
            yield
        finally:
            os.close(descriptor)
            self._ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


class FileSizeLimit:
    """Replaces `Disk` where mounting is not allowed: limits the renderer's file sizes instead."""

    def __init__(self, folder: Path, nbytes: int) -> None:
        self.folder = folder
        folder.mkdir()

    @contextmanager
    def full(self, mark: str) -> Iterator[None]:
        """Let no file of the marked training's renderer grow within the block."""
        pids = [p.pid for p in processes.marked(mark) if p.role in ("worker", "recorder")]
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self._limit(pids, (0, before[1]))
        try:
            yield
        finally:
            self._limit(pids, before)

    def _limit(self, pids: list[int], limits: tuple[int, int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

    def close(self) -> None:
        pass


def disk_at(folder: Path, nbytes: int, *, mounted: bool) -> Disk | FileSizeLimit:
    """Create a disk at `folder`, mounted if allowed."""
    return Disk(folder, nbytes) if mounted else FileSizeLimit(folder, nbytes)
