"""Finds the pictures that a run has stored, in folders and in zip files."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from attnmon_renderer.storage import packed_step, regular_files
from attnmon_renderer.storage import paths as layout
from attnmon_renderer.storage.copies import shown_place

MOST_PICTURE_BYTES = 1 << 26
"""A picture of ours has some hundred thousand, a large SVG some million."""
MOST_STEP_BYTES = 1 << 29
"""Of the pictures of one step, which all go into the report."""
StepKey = tuple[int, str]
"""A step, and the name of its folder: one step may have two."""
MIME_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
"""MIME types of the pictures that browsers show, by suffix; a PDF is not shown."""


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture on disk: a file, or a member of a step's zip file."""

    path: Path
    """The picture, or the zip file."""
    suffix: str
    """Of the picture: ".png" or ".svg"."""
    size: int
    """Bytes, uncompressed if in a zip file."""
    member: str = ""
    """Name in the zip file; empty for a file."""

    @property
    def name(self) -> str:
        """Without the suffix, such as "decoder_layer0_cross_attn"."""
        return Path(self.member or self.path).stem

    def read(self) -> bytes:
        """Returns the content.

        Raises:
            OSError: the file cannot be read.
            zipfile.BadZipFile: the zip file is damaged.
        """
        if not self.member:
            return regular_files.read(self.path, MOST_PICTURE_BYTES)
        return packed_step.read_member(self.path, self.member, MOST_PICTURE_BYTES)


class PicturedSteps:
    """The steps below a folder that have pictures; what they are is looked up when it is needed.

    Args:
        damages: takes a line for each thing that is left out.
    """

    def __init__(self, folder: Path, damages: list[str]) -> None:
        self._folder = folder
        self._damages = damages
        self.pdfs = 0
        """Number of PDF files, which browsers do not show."""
        steps, mapped = set(), set()
        for key, names in self._names():
            if self._has_pictures(names):
                steps.add(key)
            if layout.MAPS in names:
                mapped.add(key)
        self.steps = sorted(steps)
        """In step order."""
        self.mapped = dict.fromkeys(sorted(mapped))
        """Steps that have maps, in step order."""

    def load(self, number: int, name: str) -> dict[str, StoredPicture]:
        """Return a step's pictures by name; none, and a line on it, where they are too many."""
        folder, pack = self._folder / name, self._folder / (name + layout.PACKED)
        stored = _in_folder(folder)
        if regular_files.exists(pack):
            with suppress(OSError, BadZipFile):  # told when it was found
                stored += _in_pack(pack)
        shown = {picture.name: picture for picture in stored if picture.suffix in MIME_TYPES}
        if sum(picture.size for picture in shown.values()) <= MOST_STEP_BYTES:
            return shown
        self._damages.append(f"{shown_place(folder)} is left out: it is larger than any step")
        return {}

    def _names(self) -> Iterator[tuple[StepKey, list[str]]]:
        """Yield each step and the names of its files; tell what is no file of ours."""
        self._tell_strangers(self._folder, regular_files.strangers_in(self._folder))
        for name, inside in regular_files.listed_folders(self._folder):
            if (step := layout.step_of(name)) is not None:
                if inside.strangers:
                    self._tell_strangers(self._folder / name, inside.strangers)
                yield (step, name), inside.files
        for pack in regular_files.files_in(self._folder):
            name = pack.removesuffix(layout.PACKED)
            if name != pack and (step := layout.step_of(name)) is not None:
                yield (step, name), self._names_in_pack(self._folder / pack)

    def _names_in_pack(self, pack: Path) -> list[str]:
        try:
            return [member.filename for member in packed_step.members(pack)]
        except (OSError, BadZipFile) as error:
            self._damages.append(f"{pack} is left out: {error}")
            return []

    def _tell_strangers(self, folder: Path, names: list[str]) -> None:
        """Tell of each link, pipe or device in place of a step or a picture."""
        self._damages += [
            f"{shown_place(folder / name)} is left out: it is neither a file nor a folder"
            for name in sorted(names)
            if Path(name).suffix in MIME_TYPES
            or layout.step_of(name.removesuffix(layout.PACKED)) is not None
        ]

    def _has_pictures(self, names: list[str]) -> bool:
        suffixes = [name[name.rfind(".") :] for name in names if "." in name]
        self.pdfs += suffixes.count(".pdf")
        return not MIME_TYPES.keys().isdisjoint(suffixes)


def _in_folder(folder: Path) -> list[StoredPicture]:
    """Returns the files in a step's folder, in the order of their names."""
    sizes = {folder / name: found.st_size for name, found in regular_files.files_in(folder).items()}
    return [StoredPicture(path, path.suffix, sizes[path]) for path in sorted(sizes)]


def _in_pack(path: Path) -> list[StoredPicture]:
    """Returns the members of a step's zip file likewise. Raises OSError, BadZipFile."""
    sizes = {member.filename: member.file_size for member in packed_step.members(path)}
    return [StoredPicture(path, Path(name).suffix, sizes[name], name) for name in sorted(sizes)]
