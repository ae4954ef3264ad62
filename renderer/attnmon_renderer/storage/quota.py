"""What a run's directory may hold: the oldest pictures make room for the latest.

What is written is measured when it is written. Only pictures and raw weights are ever removed;
numbers stay, and so does what grows.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from attnmon_renderer.storage import inventory
from attnmon_renderer.storage.inventory import StoredFiles

PICTURES_FRACTION = 0.5
"""Of the budget: TensorBoard's events never shrink, and must not drive all pictures out."""

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
    """The sizes of one run's files. Made once a recorder, by one look at what is there."""

    def __init__(self, save_dir: Path, budget: int, wants_pictures: bool) -> None:
        self._save_dir = save_dir
        self._budget = budget
        self._wants_pictures = wants_pictures
        self._pictures: dict[str, StoredFiles] = {}
        """Of each capture that has some, by its folder's name; raw weights among them."""
        self._statistics: dict[str, int] = {}
        counts = _earlier_counts(save_dir / "summary.json")
        self._removed_before: int = counts.get("pictures_removed", 0)
        self._removed: set[str] = set()
        self._without_pictures: int = counts.get("without_pictures", 0)
        for folder in inventory.capture_names(save_dir):
            self._measure(folder)
        self.full = not self._make_room()
        """There is no room for the pictures of a single capture."""

    @property
    def has_room_for_event_pictures(self) -> bool:
        """Whether TensorBoard may have its own copies of the pictures."""
        return not self.full and inventory.run_files(self._save_dir).size < self._budget * (
            1 - PICTURES_FRACTION
        )

    def add(self, folder: str) -> None:
        """All of a capture is written: the oldest pictures go if that was too much."""
        self._measure(folder)
        had_pictures = folder in self._pictures
        if self._wants_pictures and not had_pictures and folder not in self._removed:
            self._without_pictures += self.full
        fits = self._make_room()
        self.full = self.full or not fits or (had_pictures and not self._pictures)

    def has_room_for(self, nbytes: int) -> bool:
        """Whether so much more may be written that is not removed again."""
        return self._used() + nbytes <= self._budget

    def account(self) -> dict[str, int]:
        """For `summary.json`."""
        return {
            "budget": self._budget,
            "used": self._used(),
            "pictures_removed": self._removed_before + len(self._removed),
            "without_pictures": self._without_pictures,
        }

    def _make_room(self) -> bool:
        """Whether what is there fits now."""
        while (used := self._used()) > self._budget and self._pictures:
            self._remove(min(self._pictures, key=lambda folder: self._pictures[folder].written))
        return used <= self._budget

    def _used(self) -> int:
        of_pictures = sum(held.size for held in self._pictures.values())
        return (
            of_pictures + sum(self._statistics.values()) + inventory.run_files(self._save_dir).size
        )

    def _measure(self, folder: str) -> None:
        statistics, may_go = inventory.capture_files(self._save_dir / folder)
        self._statistics[folder] = inventory.measure(statistics).size
        self._pictures.pop(folder, None)
        if may_go:
            self._pictures[folder] = inventory.measure(may_go)

    def _remove(self, folder: str) -> None:
        for path in inventory.capture_files(self._save_dir / folder)[1]:
            with contextlib.suppress(OSError):
                path.unlink()
        with contextlib.suppress(OSError):
            (self._save_dir / folder).rmdir()  # only when nothing is left in it
        self._removed.add(folder)
        self._measure(folder)
        if (stuck := self._pictures.pop(folder, None)) is not None:
            self._statistics[folder] += stuck.size  # it may not be removed, and is not tried again


def _earlier_counts(summary: Path) -> dict[str, Any]:
    """What the last recorder of this directory had counted."""
    try:
        counts = json.loads(summary.read_bytes())["disk"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return counts if isinstance(counts, dict) else {}
