"""The maps of a capture, read from files that safetensors wrote, and from damaged ones."""

import json
import os
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from support.maps import pooled, random_weights, write_maps

from attnmon_renderer.maps.maps_file import open_maps
from attnmon_renderer.maps.maps_header import MOST_HEADER_BYTES, BadMaps

STEM = "decoder_layer0_self_attn"
CROSS = "decoder_layer1_cross_attn"
LAYERS = {STEM: random_weights(2, 300, 300, causal=True), CROSS: random_weights(3, 300, 20, 1)}
TOKENS = {"encoder": [f"e{place}" for place in range(20)], "decoder": ["d"] * 300}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "step_7" / "maps.safetensors"
    write_maps(path, 7, LAYERS, 0.25, TOKENS, **{f"{STEM}.heads": "4,9", f"{STEM}.earlier": "0"})
    return path


def packed(path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """Moves a step's maps into a zip file in place of its folder."""
    with zipfile.ZipFile(path.parent.with_name("step_7.zip"), "w", compression) as pack:
        pack.writestr("statistics.json", "{}")
        pack.write(path, path.name)
    path.unlink()
    path.parent.rmdir()
    return path


def test_what_the_file_says_of_its_capture(path: Path) -> None:
    with open_maps(path) as maps:
        about = maps.metadata
    layer = about.layers[STEM]
    assert (about.step, about.epoch, about.loss, about.damages) == (7, None, 0.25, ())
    assert (layer.heads, layer.shape, layer.causal) == ((4, 9), (2, 300, 300), True)
    assert (layer.rows, layer.columns, layer.query_step, layer.key_step) == (100, 100, 3, 3)
    assert (layer.module, layer.source, layer.note) == ("decoder.0", "sdpa", "")
    assert about.tokens == {"encoder": tuple(TOKENS["encoder"]), "decoder": ("d",) * 300}


@pytest.mark.parametrize("pack", [False, True])
def test_a_head_is_what_was_written(path: Path, pack: bool) -> None:
    cells, _ = pooled(LAYERS[STEM], 128)
    with open_maps(packed(path) if pack else path) as maps:
        found = maps.codes(STEM, 9)
        assert np.abs(found.weights() - cells[1]).max() <= 0.004 * cells[1].max()
        assert np.allclose(maps.weights(STEM)[1], found.weights())
        assert maps.scale(STEM).tolist() == [found.scale] * 2
        mean = maps.codes(STEM, "mean")
        assert np.abs(mean.weights() - cells.mean(0)).max() <= 0.008 * cells.max()


def test_the_mean_is_of_the_heads_that_were_recorded(tmp_path: Path) -> None:
    weights = random_weights(3, 6, 6)
    weights[1] = 0
    path = tmp_path / "maps.safetensors"
    write_maps(path, 1, {CROSS: weights}, **{f"{CROSS}.missing": "1"})
    with open_maps(path) as maps:
        mean = maps.codes(CROSS, "mean").weights()
    assert np.abs(mean - weights[[0, 2]].mean(0)).max() <= 0.008 * weights.max()


def test_the_other_tensors_are_those_of_the_library(path: Path) -> None:
    reference = safetensors.numpy.load_file(path)
    with open_maps(path) as maps:
        assert (maps.thumbs(CROSS) == reference[f"{CROSS}.thumbs"]).all()
        received, strongest = maps.received(CROSS), maps.strongest(CROSS)
        assert received is not None
        assert (received == reference[f"{CROSS}.received"]).all()
        assert strongest is not None
        assert (strongest == reference[f"{CROSS}.strongest"]).all()
        assert maps.allowed(CROSS) is None


def test_an_unknown_layer_or_head_is_a_key_error(path: Path) -> None:
    with open_maps(path) as maps:
        with pytest.raises(KeyError, match="no head 0"):
            maps.codes(STEM, 0)
        with pytest.raises(KeyError):
            maps.thumbs("../../etc")


def test_no_maps_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_maps(tmp_path / "step_1" / "maps.safetensors")


def test_a_link_or_a_pipe_is_not_opened(path: Path) -> None:
    moved = path.rename(path.with_name("moved"))
    path.symlink_to(moved)
    with pytest.raises(OSError, match="a link"):
        open_maps(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="a pipe"):
        open_maps(path)


def test_a_compressed_member_is_not_unpacked(path: Path) -> None:
    with pytest.raises(BadMaps, match="compressed"):
        open_maps(packed(path, zipfile.ZIP_DEFLATED))


def rewritten(path: Path, change: dict[str, object], about: dict[str, str]) -> Path:
    """Changes entries of the header, and of its metadata."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] |= about
    header |= change
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    return path


def impossible_layers() -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    def entry(shape: object, offsets: object, dtype: str = "U8") -> dict[str, object]:
        return {STEM: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}

    yield entry([2, 100, 100], [0, 10**15]), {}
    yield entry([2, 100, 100], [10**15, 10**15 + 20000]), {}
    yield entry([2, 100, 100], [-20000, 0]), {}
    yield entry([2, 10**9, 10**9], [0, 2 * 10**18]), {}
    yield entry([2, 0, 100], [0, 0]), {}
    yield entry([2, 100, 100], [0, 20000], "F64"), {}
    yield entry("x", None), {}
    yield entry([2, 100, 100], []), {}
    yield entry([2, 100, 100], [0]), {}
    yield {f"{STEM}.scale": []}, {}
    yield {f"{STEM}.thumbs": {"dtype": "U8", "shape": [2, 100, 1], "data_offsets": [0, 200]}}, {}
    yield {f"{STEM}.allowed": {"dtype": "U8", "shape": [3, 1, 1], "data_offsets": [0, 3]}}, {}
    yield {}, {f"{STEM}.heads": "1"}
    yield {}, {f"{STEM}.heads": "1," * 10**6}
    yield {}, {f"{STEM}.shape": "2,100000,300"}
    yield {}, {f"{STEM}.query_step": "0"}
    yield {}, {f"{STEM}.query_step": "9" * 5000}
    yield {}, {f"{STEM}.key_step": "nan"}
    yield {}, {f"{STEM}.earlier": "301"}


@pytest.mark.parametrize("change", [*impossible_layers()])
def test_a_layer_that_cannot_be_is_left_out_and_told(
    path: Path, change: tuple[dict[str, object], dict[str, str]]
) -> None:
    with open_maps(rewritten(path, *change)) as maps:
        assert list(maps.metadata.layers) == [CROSS]
        (damage,) = maps.metadata.damages
        assert damage.startswith(f"'{STEM}' is left out")
        assert len(damage) < 200


def test_names_that_are_no_layers_are_left_out(path: Path) -> None:
    stranger = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    names: dict[str, object] = {"../x": stranger, "decoder_layer٣_self_attn": stranger}
    with open_maps(rewritten(path, names, {})) as maps:
        assert list(maps.metadata.layers) == [STEM, CROSS]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 64,
        (MOST_HEADER_BYTES + 1).to_bytes(8, "little") + b" " * (MOST_HEADER_BYTES + 1),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (2).to_bytes(8, "little") + b"{}",
        (34).to_bytes(8, "little") + b'{"__metadata__": {"format": "pt"}}',
    ],
)
def test_what_is_no_file_of_maps_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(BadMaps):
        open_maps(path)


def test_a_file_that_was_cut_while_it_is_open_is_told(path: Path) -> None:
    with open_maps(path) as maps:
        os.truncate(path, 4000)
        with pytest.raises(BadMaps, match="ends before"):
            maps.weights(CROSS)


def test_any_damaged_byte_is_refused_or_read(path: Path) -> None:
    """Flips bytes of the header and of the zip file's list: nothing but BadMaps comes out."""
    chance = random.Random(0)
    plain = path.read_bytes()
    packed(path)
    pack = path.parent.with_name("step_7.zip")
    whole = pack.read_bytes()
    pack.unlink()
    for _ in range(150):
        for target, content in ((path, plain), (pack, whole)):
            damaged = bytearray(content)
            for _ in range(chance.randint(1, 8)):
                places = (
                    chance.randrange(3000),
                    chance.randrange(len(damaged) - 400, len(damaged)),
                )
                damaged[chance.choice(places)] = chance.randrange(256)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(damaged)
            read_everything(path)
            target.unlink()
        path.parent.rmdir()


def read_everything(path: Path) -> None:
    try:
        with open_maps(path) as maps:
            for stem, layer in maps.metadata.layers.items():
                for head in (*layer.heads, "mean"):
                    maps.codes(stem, head)  # type: ignore[arg-type]
                maps.thumbs(stem), maps.allowed(stem), maps.received(stem), maps.strongest(stem)
    except (BadMaps, FileNotFoundError):
        pass
