"""Finds and opens the maps of a run's captures."""

from pathlib import Path
from typing import Any

from attnmon_renderer.maps.maps_file import MapsFile, open_maps
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.storage import paths, regular_files


class RunMaps:
    """The maps of one run, opened as they are asked for; close it."""

    def __init__(self, folder: Path, damages: list[str]) -> None:
        """`damages` takes a line for each file that cannot be read."""
        self._paths = maps_by_step(folder)
        self._damages = damages
        self._open: dict[int, MapsFile | None] = {}

    def __enter__(self) -> "RunMaps":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            if file is not None:
                file.close()

    @property
    def steps(self) -> list[int]:
        """The captures that may have maps."""
        return sorted(self._paths)

    def at(self, step: int) -> MapsFile | None:
        """Return the maps of a step; None if there are none, or they cannot be read."""
        if step not in self._open:
            self._open[step] = self._opened(step)
        return self._open[step]

    def path(self, step: int) -> Path:
        """Return where the maps of a step are."""
        return self._paths[step]

    def last_until(self, step: int, most: int) -> list[MapsFile]:
        """Return the last few maps up to a step, oldest first."""
        found: list[MapsFile] = []
        for each in reversed([own for own in self.steps if own <= step]):
            if len(found) == most:
                break
            if (file := self.at(each)) is not None:
                found.insert(0, file)
        return found

    def _opened(self, step: int) -> MapsFile | None:
        if step not in self._paths:
            return None
        try:
            return open_maps(self._paths[step])
        except FileNotFoundError:
            return None
        except (OSError, BadMaps) as error:
            self._damages.append(f"maps of step {step} are left out: {error}")
            return None


def tokens_of(maps: MapsFile | None) -> Any:
    """Return the tokens of the text that maps show; None where they are not known."""
    return (maps.metadata.tokens or None) if maps is not None else None


def maps_by_step(folder: Path) -> dict[int, Path]:
    """Return where the maps of each step would be, packed or not."""
    names = [*regular_files.folders_in(folder), *regular_files.files_in(folder)]
    steps = {name: paths.step_of(name) for name in (each.removesuffix(".zip") for each in names)}
    return {step: folder / name / paths.MAPS for name, step in steps.items() if step is not None}
