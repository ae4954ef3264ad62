"""Reads captures from what a run keeps of them: raw weights, or else its maps of a byte a cell.

A map whose cells are single positions is drawn as weights are, and says where it is from. Of one
that is pooled, or of some queries only, no picture is made: its cells are no positions.
"""

from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.figures.captions import FROM_MAPS
from attnmon_renderer.maps.maps_file import MapsFile, open_maps
from attnmon_renderer.maps.maps_header import BadMaps
from attnmon_renderer.maps.maps_metadata import LayerMaps
from attnmon_renderer.redraw.stored_capture import NotStored, StoredCapture, read_capture
from attnmon_renderer.sinks.raw_weights import NAME
from attnmon_renderer.storage import packed_step, paths, regular_files

INSTEAD = "`attnmon view` shows it; pictures take save_raw_weights=True or a larger maps_side="


def files_stored(run: Path) -> dict[Path, int]:
    """Returns of each step the file of its raw weights, or else of its maps, in step order."""
    found = {path: step for name in _folders(run) if (path := _file(run / name))
             and (step := paths.step_of(name)) is not None}  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def read_stored(path: Path) -> StoredCapture:
    """Read the capture in a file that `files_stored` has named. Raises `NotStored`."""
    if path.name == NAME:
        return read_capture(path)
    try:
        with open_maps(path) as maps:
            return _capture(maps)
    except (OSError, BadMaps) as error:
        raise NotStored(f"{path} cannot be read: {error}") from error


def _folders(run: Path) -> set[str]:
    packs = (name for name in regular_files.files_in(run) if name.endswith(paths.PACKED))
    return {*regular_files.folders_in(run), *(name.removesuffix(paths.PACKED) for name in packs)}


def _file(folder: Path) -> Path | None:
    if regular_files.exists(folder / NAME):
        return folder / NAME
    is_there = regular_files.exists(folder / paths.MAPS) or _is_packed(folder)
    return folder / paths.MAPS if is_there else None


def _is_packed(folder: Path) -> bool:
    try:
        members = packed_step.members(folder.with_name(folder.name + paths.PACKED))
    except (OSError, BadZipFile):
        return False
    return any(member.filename == paths.MAPS for member in members)


def _capture(maps: MapsFile) -> StoredCapture:
    about, folder = maps.metadata, maps.path.parent.name
    whole = [layer for layer in about.layers.values() if not _why_not(layer)]
    left_out = [f"{stem} {why}" for stem, layer in about.layers.items() if (why := _why_not(layer))]
    if not whole:
        raise NotStored(f"{maps.path}: {'; '.join([*left_out[:1], INSTEAD])}")
    memory = bytearray()
    capture = Capture(
        sequence=0,
        step=paths.step_of(folder) or 0,
        by_epoch=folder.startswith("epoch"),
        epoch=about.epoch,
        loss=about.loss,
        lr=None,
        timestamp=0.0,
        sample=0,
        slots=(Slots(0, 1),),
        attentions=tuple(_attentions(maps, whole, memory)),
        accounts=Accounts(),
        encoder_tokens=about.tokens.get("encoder", ()),
        decoder_tokens=about.tokens.get("decoder", ()),
    )
    return StoredCapture(capture, bytes(memory), tuple(f"{each}; {INSTEAD}" for each in left_out))


def _why_not(layer: LayerMaps) -> str:
    """Return why no picture can be made of a layer's maps; empty if it can."""
    if layer.query_step > 1 or layer.key_step > 1:
        return f"is stored pooled, {layer.query_step} × {layer.key_step} positions a cell"
    if layer.sampled is not None:
        return f"is stored of {layer.sampled} evenly spaced queries only"
    return "has lost the heads of a process" if layer.missing else ""


def _attentions(maps: MapsFile, layers: list[LayerMaps], memory: bytearray) -> Iterator[Attention]:
    """Yield the layers, whose arrays are added to the memory."""
    for layer in layers:
        stack, number, type_ = paths.parse_stem(layer.stem) or ("decoder", 0, "self_attention")
        allowed = maps.allowed(layer.stem)
        yield Attention(
            name=layer.module,
            stack=stack,
            layer=number,
            type=type_,
            source=layer.source,
            heads=layer.heads,
            weights=_added(maps.weights(layer.stem).astype("float32"), "float32", memory),
            bias=None if allowed is None else _added(allowed, "bool", memory),
            causal=layer.causal,
            earlier=layer.earlier,
            note=" · ".join(filter(None, (layer.note, FROM_MAPS))),
        )


def _added(array: np.ndarray, dtype: str, memory: bytearray) -> ArrayBlock:
    block = ArrayBlock(len(memory), dtype, array.shape)
    memory += array.tobytes()
    memory += bytes(-len(memory) % 8)
    return block
