"""The disk budget of a run's directory: the oldest pictures make room for the latest.

Files are measured when they are written. Only pictures and raw weights are ever removed;
statistics stay, and so do the files that grow.
"""

import contextlib
from pathlib import Path

from attnmon.link.directory_lock import EARLIER_SUMMARY
from attnmon_renderer.storage import earlier_runs, inventory, records, regular_files
from attnmon_renderer.storage.inventory import CaptureFiles, StoredFiles

PICTURES_FRACTION = 0.5
"""Part of the budget for pictures: TensorBoard's events never shrink, and must not displace all."""

EVENTS_FULL_NOTICE = (
    "TensorBoard's events, which never shrink, have taken half of disk_budget: they get no more "
    "pictures, only curves. The folders of the steps keep the latest pictures."
)
DISK_FULL_NOTICE = (
    "disk_budget is used up by what is never removed (events, history, statistics), or is too "
    "small for the pictures of one capture: no more pictures are written. Statistics are; "
    "disk in summary.json counts. Raise disk_budget, or choose a save_dir of its own."
)


class DiskQuota:
    """The sizes of one run's files, and the removal of old ones.

    Args:
        save_dir: scanned once, when the object is created.
        budget: bytes that the directory may hold.
        wants_pictures: whether captures without pictures are to be counted.
    """

    def __init__(self, save_dir: Path, budget: int, wants_pictures: bool) -> None:
        self._save_dir = save_dir
        self._budget = budget
        self._wants_pictures = wants_pictures
        self._pictures: dict[str, StoredFiles] = {}
        """Pictures and raw weights of each capture that has some, by its folder, oldest first."""
        self._statistics: dict[str, int] = {}
        self._capture_bytes = 0
        """The sum of both. What a capture costs does not depend on how many there are."""
        counts = _earlier_counts(save_dir)
        self._removed_before = counts.get("pictures_removed", 0)
        self._removed: set[str] = set()
        self._without_pictures = counts.get("without_pictures", 0)
        runs = earlier_runs.folders(save_dir)
        self._earlier_bytes = sum(inventory.run_files(run).size for run in runs)
        """Of earlier runs' histories and events, which neither grow nor go."""
        for run in (save_dir, *runs):
            for name, files in inventory.all_capture_files(run):
                self._count(str(run.relative_to(save_dir) / name), files)
        oldest_first = sorted(self._pictures.items(), key=lambda held: held[1].written)
        self._pictures = dict(oldest_first)
        self.full = not self._make_room()
        """Whether there is no room for the pictures of a single capture."""

    @property
    def has_room_for_event_pictures(self) -> bool:
        """Whether TensorBoard's events may hold copies of the pictures."""
        return not self.full and inventory.run_files(self._save_dir).size < self._budget * (
            1 - PICTURES_FRACTION
        )

    def add(self, folder: str) -> None:
        """Count a capture that is completely written, and remove the oldest pictures if need be."""
        self._measure(folder)
        had_pictures = folder in self._pictures
        if self._wants_pictures and not had_pictures and folder not in self._removed:
            self._without_pictures += self.full
        fits = self._make_room()
        self.full = self.full or not fits or (had_pictures and not self._pictures)

    def has_room_for(self, nbytes: int) -> bool:
        """Return whether so many more bytes fit that will never be removed."""
        return self._used() + nbytes <= self._budget

    def account(self) -> dict[str, int]:
        """Return the account for `summary.json`."""
        return {
            "budget": self._budget,
            "used": self._used(),
            "pictures_removed": self._removed_before + len(self._removed),
            "without_pictures": self._without_pictures,
        }

    def _make_room(self) -> bool:
        """Remove the oldest pictures until the budget is kept; return whether it is."""
        while (used := self._used()) > self._budget and self._pictures:
            self._remove(next(iter(self._pictures)))
        return used <= self._budget

    def _used(self) -> int:
        run_bytes = inventory.run_files(self._save_dir).size
        return self._capture_bytes + self._earlier_bytes + run_bytes

    def _measure(self, folder: str) -> None:
        self._count(folder, inventory.capture_files(self._save_dir / folder))

    def _count(self, folder: str, files: CaptureFiles) -> None:
        statistics, may_go = (inventory.measure(kind.values()) for kind in files)
        before = self._pictures.pop(folder, StoredFiles(0, 0.0)).size
        self._capture_bytes -= before + self._statistics.get(folder, 0)
        self._statistics[folder] = statistics.size
        if may_go.size:
            self._pictures[folder] = may_go
        self._capture_bytes += statistics.size + may_go.size

    def _remove(self, folder: str) -> None:
        for path in inventory.capture_files(self._save_dir / folder).may_go:
            with contextlib.suppress(OSError):
                regular_files.remove(path)
        with contextlib.suppress(OSError):
            regular_files.remove_if_empty(self._save_dir / folder)
        self._removed.add(folder)
        self._measure(folder)
        if (stuck := self._pictures.pop(folder, None)) is not None:
            self._statistics[folder] += stuck.size  # it cannot be removed


def _earlier_counts(save_dir: Path) -> dict[str, int]:
    """Return what the last recorder of this run had counted."""
    for name in (EARLIER_SUMMARY, "summary.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            counts: dict[str, int] = records.read_summary(save_dir / name).fields["disk"]
            return counts
    return {}
