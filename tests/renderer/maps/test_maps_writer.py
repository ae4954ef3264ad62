"""A worker's `maps.safetensors`, read by the library and by our own reader."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from support.attention_layers import random_query_and_key, sent_layer, softmax
from support.maps import encoded, pooled, shrunk

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import worker
from attnmon_renderer.maps import maps_writer
from attnmon_renderer.maps.maps_file import open_maps

STEM = "decoder_layer0_self_attn"
KEYS = {"", ".scale", ".thumbs", ".received", ".strongest"}


def capture_of(*sent: tuple[Attention, bytes], **changed: Any) -> tuple[Capture, memoryview]:
    """Returns a capture of these layers, whose blocks begin at 0, and the ring."""
    ring, layers = b"", []
    for attention, memory in sent:
        blocks = {
            name: replace(block, offset=block.offset + len(ring))
            for name in ("weights", "query", "key", "bias")
            if (block := getattr(attention, name)) is not None
        }
        layers.append(replace(attention, **blocks))
        ring += memory
    about: dict[str, Any] = {"loss": 0.5, "decoder_tokens": ("a", "b", "c"), **changed}
    capture = Capture(
        0, 7, False, 2, about.pop("loss"), None, 1.5, 1, (Slots(0, 1),), tuple(layers), Accounts(),
        **about,
    )  # fmt: skip
    return capture, memoryview(ring)


def draw(folder: Path, capture: Capture, ring: memoryview, **options: Any) -> str:
    chosen = RenderOptions(
        **{
            "pictures": (),
            "maps": "all",
            "tensorboard": False,
            "statistics_files": False,
            **options,
        }
    )
    setup = Setup(str(folder), chosen, 1 << 30, 1 << 16, 1)
    drawn, _ = worker.process_capture(capture, setup, ring)
    return drawn.error


def tensors_and_metadata(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    with safetensors.safe_open(str(path), "np") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, file.metadata()


@pytest.mark.parametrize("size", [3, 300])
def test_the_library_reads_what_was_written(tmp_path: Path, size: int) -> None:
    arrays = random_query_and_key(2, size, size)
    assert draw(tmp_path, *capture_of(sent_layer(causal=True, **arrays))) == ""
    found, about = tensors_and_metadata(tmp_path / "step_7" / "maps.safetensors")
    assert {name.removeprefix(STEM) for name in found} == KEYS
    cells, steps = pooled(softmax(**arrays, causal=True), 128)
    codes, scale = encoded(cells)
    assert np.abs(found[STEM].astype(int) - codes).max() <= 1
    assert (found[STEM] == codes).mean() > 0.99
    assert np.allclose(found[f"{STEM}.scale"], scale, rtol=1e-5)
    assert (found[f"{STEM}.thumbs"] == shrunk(found[STEM], 32 if size < 64 else 28)).all()
    assert {str(tensor.dtype) for tensor in found.values()} == {
        "uint8", "float32", "float16", "uint32"
    }  # fmt: skip
    assert about["format"] == "attnmon-maps 1"
    assert (about["step"], about["epoch"], about["loss"]) == ("7", "2", "0.5")
    assert json.loads(about["tokens"]) == {"decoder": ["a", "b", "c"]}
    of_layer = {name.removeprefix(f"{STEM}."): value for name, value in about.items()}
    assert of_layer["heads"] == "0,1"
    assert of_layer["shape"] == f"2,{size},{size}"
    assert (of_layer["query_step"], of_layer["key_step"]) == (str(steps[0]), str(steps[1]))
    assert (of_layer["causal"], of_layer["module"], of_layer["note"]) == ("true", "decoder.0", "")
    assert "sampled" not in of_layer


def test_our_own_reader_reads_it_too(tmp_path: Path) -> None:
    arrays = random_query_and_key(2, 3, 3)
    draw(tmp_path, *capture_of(sent_layer(**arrays)))
    with open_maps(tmp_path / "step_7" / "maps.safetensors") as maps:
        about = maps.metadata
        assert about.tokens == {"decoder": ("a", "b", "c")}
        assert np.allclose(maps.weights(STEM), softmax(**arrays), atol=0.004)


def test_a_packed_step_holds_its_maps(tmp_path: Path) -> None:
    draw(tmp_path, *capture_of(sent_layer(**random_query_and_key(1, 3, 3))), pack=True)
    assert zipfile.ZipFile(tmp_path / "step_7.zip").namelist() == ["maps.safetensors"]
    with open_maps(tmp_path / "step_7" / "maps.safetensors") as maps:
        assert list(maps.metadata.layers) == [STEM]


def test_a_mask_is_stored_only_where_it_forbids_more_than_causality(tmp_path: Path) -> None:
    arrays = random_query_and_key(1, 6, 6)
    tril = np.tri(6, dtype=bool)[None]
    narrow = tril & ~np.tri(6, k=-3, dtype=bool)
    draw(tmp_path, *capture_of(
        sent_layer(0, bias=tril, **arrays), sent_layer(1, bias=narrow, **arrays),
        sent_layer(2, **arrays),
    ))  # fmt: skip
    found, about = tensors_and_metadata(tmp_path / "step_7" / "maps.safetensors")
    masks = {name: tensor.tolist() for name, tensor in found.items() if name.endswith("allowed")}
    assert masks == {"decoder_layer1_self_attn.allowed": narrow.astype(int).tolist()}
    causal = [about[f"decoder_layer{layer}_self_attn.causal"] for layer in range(3)]
    assert causal == ["true", "false", "false"]


def test_keys_of_a_prefix_are_not_later_than_any_query(tmp_path: Path) -> None:
    arrays = random_query_and_key(1, 4, 6)
    layer, memory = sent_layer(bias=np.tri(4, 6, 2, dtype=bool)[None], **arrays)
    draw(tmp_path, *capture_of((replace(layer, earlier=2), memory)))
    found, about = tensors_and_metadata(tmp_path / "step_7" / "maps.safetensors")
    assert (about[f"{STEM}.causal"], about[f"{STEM}.earlier"]) == ("true", "2")
    assert f"{STEM}.allowed" not in found


def test_what_is_not_finite_has_code_0_and_is_counted(tmp_path: Path) -> None:
    weights = np.array([[[0.5, np.nan], [np.inf, 1.0]]], np.float32)
    assert draw(tmp_path, *capture_of(sent_layer(weights=weights))) == ""
    found, about = tensors_and_metadata(tmp_path / "step_7" / "maps.safetensors")
    assert found[STEM].tolist() == [[[180, 0], [0, 255]]]
    assert about[f"{STEM}.non_finite"] == "2"


def test_sampled_queries_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps_writer, "MOST_WEIGHTS", 90_000)
    draw(tmp_path, *capture_of(sent_layer(**random_query_and_key(2, 300, 300))))
    _, about = tensors_and_metadata(tmp_path / "step_7" / "maps.safetensors")
    assert about[f"{STEM}.sampled"] == "100"
    assert about[f"{STEM}.note"] == "of 100 evenly spaced queries"


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ({"maps": "all"}, [0, 1]),
        ({"maps": "drawn", "pictures": ("heatmap",)}, [0]),
        ({"maps": "drawn"}, []),
        ({"maps": None, "pictures": ("heatmap",)}, []),
    ],
)
def test_layers_that_are_drawn_or_all(
    tmp_path: Path, options: dict[str, Any], stored: list[int]
) -> None:
    arrays = random_query_and_key(1, 4, 4)
    other, memory = sent_layer(1, **arrays)
    capture = capture_of(sent_layer(0, **arrays), (replace(other, drawn=False), memory))
    assert draw(tmp_path, *capture, **options) == ""
    maps = tmp_path / "step_7" / "maps.safetensors"
    found = sorted(safetensors.numpy.load_file(maps)) if maps.exists() else []
    assert [name for name in found if name.endswith("_attn")] == [
        f"decoder_layer{layer}_self_attn" for layer in stored
    ]
    pictures = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert pictures == ([f"{STEM}.png"] if options.get("pictures") else [])


def test_maps_that_cannot_be_written_are_an_error_beside_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no room")

    monkeypatch.setattr(maps_writer.CaptureMaps, "write", fail)
    error = draw(tmp_path, *capture_of(sent_layer(**random_query_and_key(1, 3, 3))))
    assert error.startswith("maps.safetensors: ValueError: no room")
