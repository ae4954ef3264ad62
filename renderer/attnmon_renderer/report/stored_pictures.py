"""Finds the pictures that a run has stored, in folders and in zip files."""

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

from attnmon_renderer.storage import packed_step, regular_files
from attnmon_renderer.storage import paths as layout

MOST_PICTURE_BYTES = 1 << 26
"""A picture of ours has some hundred thousand, a large SVG some million."""
MOST_STEP_BYTES = 1 << 29
"""Of the pictures of one step, which all go into the report."""
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


def pictures_by_step(
    folder: Path,
) -> tuple[dict[tuple[int, str], dict[str, StoredPicture]], int, list[str]]:
    """Returns the pictures of each step and folder, the number of PDFs, and what is damaged."""
    found: dict[tuple[int, str], dict[str, StoredPicture]] = {}
    pdfs, damages = 0, _strangers(folder)
    packs = {name for name in regular_files.files_in(folder) if name.endswith(layout.PACKED)}
    for name in (*regular_files.folders_in(folder), *packs):
        step_name = name.removesuffix(layout.PACKED)
        number = layout.step_of(step_name)
        if number is None:
            continue
        try:
            stored = _in_pack(folder / name) if name in packs else _in_folder(folder / name)
        except (OSError, BadZipFile) as error:
            damages.append(f"{folder / name} is left out: {error}")
            continue
        damages += _strangers(folder / name)
        pdfs += sum(picture.suffix == ".pdf" for picture in stored)
        shown = {picture.name: picture for picture in stored if picture.suffix in MIME_TYPES}
        if sum(picture.size for picture in shown.values()) > MOST_STEP_BYTES:
            damages.append(f"{folder / name} is left out: it is larger than any step")
            continue
        if shown:
            found.setdefault((number, step_name), {}).update(shown)
    return found, pdfs, damages


def _strangers(folder: Path) -> list[str]:
    """Returns a line for each link, pipe or device in place of a step or a picture."""
    return [
        f"{folder / name} is left out: it is neither a file nor a folder"
        for name in sorted(regular_files.strangers_in(folder))
        if Path(name).suffix in MIME_TYPES
        or layout.step_of(name.removesuffix(layout.PACKED)) is not None
    ]


def _in_folder(folder: Path) -> list[StoredPicture]:
    """Returns the files in a step's folder, in the order of their names."""
    sizes = {folder / name: found.st_size for name, found in regular_files.files_in(folder).items()}
    return [StoredPicture(path, path.suffix, sizes[path]) for path in sorted(sizes)]


def _in_pack(path: Path) -> list[StoredPicture]:
    """Returns the members of a step's zip file likewise. Raises OSError, BadZipFile."""
    sizes = {member.filename: member.file_size for member in packed_step.members(path)}
    return [StoredPicture(path, Path(name).suffix, sizes[name], name) for name in sorted(sizes)]
