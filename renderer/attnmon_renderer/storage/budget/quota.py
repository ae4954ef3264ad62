"""The disk budget of a run's directory: pictures are thinned out to make room for the latest.

Files are measured when they are written. Only pictures, maps and raw weights are ever removed;
statistics stay, and so do the files that grow.
"""

import contextlib
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from zipfile import BadZipFile

from attnmon.link.directory_lock import EARLIER_SUMMARY
from attnmon_renderer.storage import (
    earlier_runs,
    inventory,
    packed_step,
    paths,
    records,
    regular_files,
)
from attnmon_renderer.storage.budget.thinning import ThinnedCaptures
from attnmon_renderer.storage.inventory import CaptureFiles, StoredFiles
from attnmon_renderer.storage.records import MOST_SUMMARY_BYTES

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
    """The sizes of one run's files, and the removal of those that are missed least.

    Pictures of earlier runs go first, the oldest before others. Then the captures of this run are
    thinned out; the first, the latest, those of dumps and of alerts stay as long as others can go.

    Args:
        save_dir: scanned once, when the object is created.
        budget: bytes that the directory may hold.
        wants_pictures: whether captures without pictures are to be counted.
        alarmed_steps: returns the steps of alerts.
        are_elsewhere: returns whether files of the run, given their sizes by name, are also kept
            elsewhere. Only those are removed; until they are, the budget is exceeded.
    """

    def __init__(
        self,
        save_dir: Path,
        budget: int,
        wants_pictures: bool,
        alarmed_steps: Callable[[], Set[int]] = frozenset,
        are_elsewhere: Callable[[Mapping[str, int]], bool] = lambda sizes: True,
    ) -> None:
        self._are_elsewhere = are_elsewhere
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
        self._of_earlier_runs = [folder for folder in self._pictures if "/" in folder]
        self._of_earlier_runs.reverse()
        own = [folder for folder in self._pictures if "/" not in folder]
        self._thinned = ThinnedCaptures((_step(folder), folder) for folder in own)
        self._alarmed_steps = alarmed_steps
        self.full = not self._make_room()
        """Whether there is no room for the pictures of a single capture."""

    @property
    def has_room_for_event_pictures(self) -> bool:
        """Whether TensorBoard's events may hold copies of the pictures."""
        return not self.full and inventory.run_files(self._save_dir).size < self._budget * (
            1 - PICTURES_FRACTION
        )

    def add(self, folder: str) -> None:
        """Count a capture that is completely written, and remove pictures if need be."""
        self._measure(folder)
        had_pictures = folder in self._pictures
        if had_pictures:
            self._thinned.add(_step(folder), folder)
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
        """Remove pictures until the budget is kept; return whether it is."""
        while (used := self._used()) > self._budget and self._pictures:
            folder = self._next_to_go()
            if not self._may_go(folder):
                self._put_back(folder)
                return True  # there will be room when it is uploaded
            self._remove(folder)
        return used <= self._budget

    def _may_go(self, folder: str) -> bool:
        files = inventory.capture_files(self._save_dir / folder).may_go
        sizes = {str(path.relative_to(self._save_dir)): found.st_size
                 for path, found in files.items()}  # fmt: skip
        return self._are_elsewhere(sizes)

    def _put_back(self, folder: str) -> None:
        if "/" in folder:
            self._of_earlier_runs.append(folder)
        else:
            self._thinned.add(_step(folder), folder)

    def _next_to_go(self) -> str:
        if self._of_earlier_runs:
            return self._of_earlier_runs.pop()
        while (place := self._thinned.least_missed()) is not None and self._is_to_stay(*place):
            self._thinned.spare(*place)
        step, folder = place or self._thinned.last_resort()
        self._thinned.remove(step, folder)
        return folder

    def _is_to_stay(self, step: int, folder: str) -> bool:
        """Whether a capture is of an alert, or was retained first and drawn for a reason."""
        if step in self._alarmed_steps():
            return True
        found = records.read_capture(_statistics(self._save_dir / folder))
        return found is not None and bool(found["metadata"].get("kept_for"))

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


def _statistics(folder: Path) -> bytes:
    """Return what `statistics.json` holds, empty if there is none."""
    try:
        return regular_files.read(folder / paths.STATISTICS, MOST_SUMMARY_BYTES)
    except FileNotFoundError:
        pack = folder.with_name(folder.name + paths.PACKED)
        with contextlib.suppress(OSError, BadZipFile, KeyError):
            return packed_step.read_member(pack, paths.STATISTICS, MOST_SUMMARY_BYTES)
    except OSError:
        pass
    return b""


def _step(folder: str) -> int:
    return paths.step_of(folder) or 0


def _earlier_counts(save_dir: Path) -> dict[str, int]:
    """Return what the last recorder of this run had counted."""
    for name in (EARLIER_SUMMARY, "summary.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            counts: dict[str, int] = records.read_summary(save_dir / name).fields["disk"]
            return counts
    return {}
