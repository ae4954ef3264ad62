"""Follows the journal of an uploader from another process: what may be removed from the disk."""

from collections.abc import Mapping
from pathlib import Path

from attnmon_renderer.mirror import journal
from attnmon_renderer.mirror.run_contents import run_id
from attnmon_renderer.mirror.upload_status import STOPPED, read_status
from attnmon_renderer.mirror.uploads import UploadedFile, note_upload, read_upload
from attnmon_renderer.storage import regular_files

MOST_HEADING = 1 << 16


class UploadedNames:
    """The files that are in the bucket by now.

    Args:
        folder: the run's directory. It reads what the journal has got since it was asked last.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / journal.NAME
        self._files: dict[str, UploadedFile] = {}
        self._heading = b""
        self._read = 0

    def may_go(self, sizes: Mapping[str, int]) -> bool:
        """Return whether files of the run, of these sizes by name, may be removed from the disk.

        They may when they are in the bucket, and when nothing is uploaded any more, for good.
        """
        self._follow()
        run = journal.read_heading(self._heading).get("run")
        held = {name: file.size for name in sizes if (file := self._files.get(name)) is not None}
        if held == sizes and run == run_id(self._path.parent):
            return True
        status = read_status(self._path.parent)
        return status is not None and status.state == STOPPED

    def _follow(self) -> None:
        try:
            with regular_files.open_to_read(self._path) as file:
                if (heading := file.readline(MOST_HEADING)) != self._heading:  # begun anew
                    self._files.clear()
                    self._heading, self._read = heading, len(heading)
                file.seek(self._read)
                content = file.read()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                note_upload(self._files, read_upload(line))
            except ValueError:
                continue
