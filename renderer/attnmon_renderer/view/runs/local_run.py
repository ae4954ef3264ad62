"""Reads one run's directory for the server, again only where a file has changed."""

import math
import os
from pathlib import Path
from threading import RLock
from typing import Any

from attnmon.link.records.alert import Alert
from attnmon_renderer.insight.alert_log import read_alerts
from attnmon_renderer.maps.maps_file import MapsFile, open_maps
from attnmon_renderer.storage import packed_step, paths, records, regular_files
from attnmon_renderer.storage.run_reader import NoRun, Run, read_run
from attnmon_renderer.view.runs.history_chunk import HistoryChunk, read_history
from attnmon_renderer.view.runs.listed_captures import ListedCapture, ListedCaptures

MOST_PICTURE_BYTES = 1 << 25
MOST_JSON_BYTES = 1 << 22
"""Of a file that is parsed at once: what is parsed may take twenty times as much memory."""
SUMMARY, HISTORY, DESCRIPTION, ALERTS = WATCHED = (
    "summary.json", "history.jsonl", "run.json", "alerts.jsonl",
)  # fmt: skip
"""The files that tell how a run goes on."""

RunStamp = tuple[tuple[int, int, int], ...]
"""Inode, size and time of the directory and of its files; zeros for one that is not there."""
_ABSENT = (0, 0, 0)


class LocalRun:
    """A run in a directory of this machine.

    The server reads runs through this class alone. Threads may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = RLock()
        self._captures = ListedCaptures(folder)
        self._run: Run | None = None
        self._stamp_of_run: RunStamp = ()
        self._alerts: list[Alert] = []
        self._stamp_of_alerts = _ABSENT

    def stamp(self) -> RunStamp:
        """Return what changes as soon as the run goes on. All zeros if it is gone."""
        found = regular_files.statuses_of(self.folder, ".", *WATCHED)
        return tuple(_stamp(found[name]) if name in found else _ABSENT for name in (".", *WATCHED))

    def read(self) -> Run:
        """Return how the run stands. Raises `NoRun`."""
        with self._lock:
            stamp = self.stamp()
            if stamp[1][1] > MOST_JSON_BYTES:
                raise NoRun(f"{self.folder / SUMMARY} is larger than any of a run's")
            if self._run is None or stamp[1:3] != self._stamp_of_run[1:3]:
                self._run = read_run(self.folder)
                self._stamp_of_run = stamp
            return self._run

    def description(self, damages: list[str]) -> dict[str, Any]:
        """Return what `run.json` says, or nothing; `damages` takes a line if it is damaged."""
        path = self.folder / DESCRIPTION
        try:
            if self.stamp()[1 + WATCHED.index(DESCRIPTION)][1] > MOST_JSON_BYTES:
                raise regular_files.LargeFile("it is larger than any of a run's")
            return records.read_run_description(path)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            damages.append(f"{path} is left out: {error}")
            return {}

    def cursor(self) -> int:
        """Return the bytes that the history has now."""
        return self.stamp()[1 + WATCHED.index(HISTORY)][1]

    def history(self, after: int) -> HistoryChunk:
        """Return the lines after a cursor. Raises `BeyondEnd`, OSError."""
        return read_history(self.folder / HISTORY, after)

    def captures(self) -> dict[str, ListedCapture]:
        """Return the captures by their keys, in step order."""
        with self._lock:
            self._captures.refresh(self.cursor(), self._last_whole())
            return self._captures.by_key

    def capture(self, key: str) -> ListedCapture | None:
        """Return the capture of this key; None if there is none, or no longer."""
        with self._lock:
            return self._captures.unchanged(key) or self.captures().get(key)

    def _last_whole(self) -> float:
        """Return the step of the last capture that nothing is added to any more.

        While a run goes on that is the last in its history, which is written when all is drawn.
        """
        try:
            run = self.read()
        except NoRun:
            return math.inf
        if not run.goes_on:
            return math.inf
        last = None if run.last is None else run.last["metadata"].get("step")
        return -math.inf if last is None else last

    def maps(self, capture: ListedCapture) -> MapsFile:
        """Open the maps of a capture, to be closed again. Raises OSError, `BadMaps`."""
        return open_maps(self.folder / capture.folder / paths.MAPS)

    def alerts(self) -> list[Alert]:
        """Return the alerts of the run, each in its last state."""
        with self._lock:
            stamp = self.stamp()[1 + WATCHED.index(ALERTS)]
            if stamp != self._stamp_of_alerts:
                self._alerts, self._stamp_of_alerts = read_alerts(self.folder), stamp
            return self._alerts

    def picture(self, capture: ListedCapture, name: str) -> bytes:
        """Return a picture that the capture names. Raises OSError, BadZipFile."""
        folder = self.folder / capture.folder
        if not capture.packed:
            return regular_files.read(folder / name, MOST_PICTURE_BYTES)
        pack = folder.with_name(folder.name + paths.PACKED)
        return packed_step.read_member(pack, name, MOST_PICTURE_BYTES)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns
