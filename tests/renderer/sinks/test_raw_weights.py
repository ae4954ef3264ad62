"""Raw weights as the safetensors library itself reads them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, load_file

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention, AttentionType
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer.analysis.layer_attention import LayerAttention
from attnmon_renderer.sinks.raw_weights import NAME, write_raw, write_safetensors

Array = np.ndarray[Any, Any]


def layer_of(
    query: Array, key: Array, layer: int = 0, type_: AttentionType = "self_attention"
) -> LayerAttention:
    blocks = (
        ArrayBlock(0, "float32", query.shape),
        ArrayBlock(query.nbytes, "float32", key.shape),
    )
    message = Attention(
        f"layers.{layer}.attn",
        "decoder",
        layer,
        type_,
        "test",
        tuple(range(4, 4 + len(query))),
        query=blocks[0],
        key=blocks[1],
        causal=type_ == "self_attention",
        note="window left out",
    )
    return LayerAttention(message, query.tobytes() + key.tobytes())


def random_layer(heads: int, queries: int, keys: int, **about: Any) -> LayerAttention:
    rng = np.random.default_rng(queries)
    query = rng.standard_normal((heads, queries, 8), np.float32)
    return layer_of(query, rng.standard_normal((heads, keys, 8), np.float32), **about)


def capture_of(*layers: LayerAttention, step: int = 100) -> Capture:
    return Capture(
        sequence=0,
        step=step,
        by_epoch=False,
        epoch=None,
        loss=float("nan"),
        lr=1e-4,
        timestamp=0.0,
        sample=0,
        slots=(Slots(0, 1),),
        attentions=tuple(layer.attention for layer in layers),
        accounts=Accounts(),
    )


def test_the_library_reads_every_weight_under_the_names_of_the_files(tmp_path: Path) -> None:
    own = random_layer(3, 70, 70)
    cross = random_layer(3, 70, 31, layer=1, type_="cross_attention")
    write_raw(tmp_path, capture_of(own, cross), {own.attention: own, cross.attention: cross})
    tensors = load_file(tmp_path / NAME)
    assert set(tensors) == {"decoder_layer0_self_attn", "decoder_layer1_cross_attn"}
    np.testing.assert_allclose(tensors["decoder_layer0_self_attn"], own.full(), atol=1e-7)
    np.testing.assert_allclose(tensors["decoder_layer1_cross_attn"], cross.full(), atol=1e-7)
    assert tensors["decoder_layer0_self_attn"].dtype == np.float32
    assert [entry.name for entry in tmp_path.iterdir()] == [NAME]


def test_the_metadata_says_what_the_tensors_are(tmp_path: Path) -> None:
    layer = random_layer(2, 5, 5)
    write_raw(tmp_path, capture_of(layer, step=0), {layer.attention: layer})
    with safe_open(tmp_path / NAME, framework="numpy") as file:
        assert file.metadata() == {
            "step": "0",
            "loss": "nan",
            "lr": "0.0001",
            "timestamp": "0.0",
            "sample": "0",
            "seen_in": "probe",
            "due": "step",
            "decoder_layer0_self_attn.module": "layers.0.attn",
            "decoder_layer0_self_attn.source": "test",
            "decoder_layer0_self_attn.heads": "4,5",
            "decoder_layer0_self_attn.causal": "true",
            "decoder_layer0_self_attn.earlier": "0",
            "decoder_layer0_self_attn.note": "window left out",
        }


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_what_a_mask_allows_stands_beside_the_weights(dtype: str) -> None:
    allowed = np.array([[[True, False, True], [True, True, True]]])
    bias = allowed if dtype == "bool" else np.where(allowed, np.float32(0.5), np.float32(-np.inf))
    tensors = written(with_bias(bias))
    assert set(tensors) == {"a", "a.allowed"}
    np.testing.assert_array_equal(tensors["a.allowed"], allowed)
    assert (tensors["a"][:, 0, 1] == 0).all()


def test_a_bias_that_forbids_nothing_is_no_mask() -> None:
    assert set(written(with_bias(np.full((2, 3), -0.5, np.float32)))) == {"a"}


def with_bias(bias: Array) -> LayerAttention:
    plain = random_layer(2, 2, 3)
    memory = bytes(plain.memory) + bias.tobytes()
    block = ArrayBlock(len(bytes(plain.memory)), str(bias.dtype), bias.shape)
    return LayerAttention(replace(plain.attention, bias=block, causal=False), memory)


def written(layer: LayerAttention) -> dict[str, Array]:
    file = io.BytesIO()
    write_safetensors(file, {"a": layer}, {})
    return load(file.getvalue())


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 0, 3), (2, 3, 0)])
def test_the_smallest_shapes(shape: tuple[int, int, int]) -> None:
    file = io.BytesIO()
    layers = {"é\n": random_layer(*shape), "b": random_layer(1, 300, 1000)}
    write_safetensors(file, layers, {})
    assert int.from_bytes(file.getvalue()[:8], "little") % 8 == 0  # so the tensors are aligned
    tensors = load(file.getvalue())
    assert tensors["é\n"].shape == shape
    np.testing.assert_allclose(tensors["b"], layers["b"].full(), atol=1e-7)


def test_the_file_is_written_in_pieces_far_smaller_than_a_layer() -> None:
    class Widest(io.RawIOBase):
        widest = 0

        def write(self, piece: Any) -> int:
            self.widest = max(self.widest, len(piece))
            return len(piece)

    file = Widest()
    write_safetensors(file, {"a": random_layer(1, 2048, 2048)}, {})  # type: ignore[arg-type]
    assert file.widest <= 2048 * 2048 * 4 / 8
