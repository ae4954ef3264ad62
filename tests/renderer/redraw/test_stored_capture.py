"""Where tensors lie in a file that the safetensors library wrote, and the names of layers in it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from attnmon.link.records.attention_record import Attention, AttentionType, Stack
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.arrays import read_array
from attnmon_renderer.redraw.stored_capture import NotStored, read_capture
from attnmon_renderer.sinks.safetensors import read_index
from attnmon_renderer.storage import paths

TENSORS = {
    "weights": np.random.default_rng(0).random((2, 3, 4), np.float32),
    "allowed": np.array([True, False, True]),
    "half": np.arange(5, dtype=np.float16),
}


def test_the_index_finds_every_tensor_and_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, {"step": "7"})
    memory = np.fromfile(path, np.uint8)
    metadata, blocks = read_index(memory)
    assert metadata == {"step": "7"}
    assert blocks.keys() == TENSORS.keys()
    for name, values in TENSORS.items():
        found = read_array(blocks[name], memory)
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
@pytest.mark.parametrize("type_", ["self_attention", "cross_attention"])
def test_a_stem_says_which_layer_it_is_of(stack: Stack, type_: AttentionType) -> None:
    weights = ArrayBlock(0, "float32", (1, 2, 2))
    attention = Attention("m", stack, 12, type_, "test", (0,), weights=weights)
    assert paths.parse_stem(paths.stem(attention)) == (stack, 12, type_)


@pytest.mark.parametrize("text", ["", "encoder_layer0_self_attn.allowed", "encoder_layer0_attn"])
def test_other_names_are_no_stems(text: str) -> None:
    assert paths.parse_stem(text) is None


def test_a_file_without_layers_is_not_stored_by_attnmon(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, {"step": "7"})
    with pytest.raises(NotStored, match="cannot be read"):
        read_capture(path)
