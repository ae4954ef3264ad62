"""Finds the pictures of a capture that show what an alert is about."""

import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

from attnmon_renderer.insight.judging.rule import PlaceOrRun
from attnmon_renderer.storage import packed_step, paths, regular_files

TIMELINE = "timeline.png"
MOST_PICTURES = 3
_FORMATS = ("png", "svg", "pdf")


def find_pictures(
    save_dir: Path, folder: str, kinds: Collection[str], place: PlaceOrRun
) -> tuple[str, ...]:
    """Return files below `save_dir`, the best first: those of these kinds and this place.

    Args:
        folder: The name of the capture's folder.
    """
    files = _files_of_step(save_dir, folder)
    found = [name for kind in kinds for name in _of_kind(kind, place, save_dir, files)]
    return tuple(found[:MOST_PICTURES])


def _files_of_step(save_dir: Path, folder: str) -> dict[str, str]:
    """Return the pictures of a step: where each lies below `save_dir`, by its name."""
    inside = {name: f"{folder}/{name}" for name in regular_files.files_in(save_dir / folder)}
    packed = f"{folder}{paths.PACKED}"
    try:
        members = packed_step.members(save_dir / packed)
    except (OSError, zipfile.BadZipFile):
        members = []
    return inside | {each.filename: f"{packed}/{each.filename}" for each in members}


def _of_kind(kind: str, place: PlaceOrRun, save_dir: Path, files: dict[str, str]) -> Iterator[str]:
    if kind == "timeline":
        if regular_files.exists(save_dir / TIMELINE):
            yield TIMELINE
        return
    role, layer = place
    stack, _, short = role.partition("_")
    group = stack if stack == "encoder" else role
    layers = range(64) if layer is None else [layer]
    stems = [f"{stack}_layer{number}_{short}_attn" for number in layers] if role else _any(files)
    for stem in stems:
        name = paths.STEP_FIGURES[kind].format(layer=stem, group=group)
        if found := next((f for f in _FORMATS if f"{name}.{f}" in files), ""):
            yield files[f"{name}.{found}"]
            return


def _any(files: Collection[str]) -> list[str]:
    """Return the stems of all layers of which there is a picture."""
    stems = (name.partition(".")[0] for name in sorted(files))
    return [stem for stem in stems if paths.parse_stem(stem) is not None]
