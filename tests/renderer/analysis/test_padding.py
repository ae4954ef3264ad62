"""Queries that are padding: found in the masks, shown as masked, and counted in no statistic."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.messages import CAPTURE

from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock
from attnmon_renderer.analysis.layer_analysis import analyze_layer
from attnmon_renderer.analysis.layer_attention import LayerAttention, declare_padding, share_padding
from attnmon_renderer.analysis.layer_batch import layer_statistics

HEADS, LENGTH = 2, 6
REAL = np.array([True, True, True, True, False, False])


def layer_of(
    bias: Any, *, seed: int = 0, queries: int = LENGTH, keys: int = LENGTH, causal: bool = False,
    kind: Any = "self_attention", earlier: int = 0,
) -> LayerAttention:  # fmt: skip
    rng = np.random.default_rng(seed)
    arrays = {
        "query": rng.standard_normal((HEADS, queries, 4), np.float32),
        "key": rng.standard_normal((HEADS, keys, 4), np.float32),
    }
    if bias is not None:
        arrays["bias"] = np.asarray(bias)
    blocks: dict[str, Any] = {}
    memory = b""
    for name, array in arrays.items():
        blocks[name] = ArrayBlock(len(memory), str(array.dtype), array.shape)
        memory += array.tobytes()
    return LayerAttention(
        Attention(
            "m", "decoder", 0, kind, "test", tuple(range(HEADS)), **blocks, causal=causal,
            earlier=earlier,
        ),
        memory,
    )  # fmt: skip


def found(layer: LayerAttention) -> list[bool] | None:
    return None if layer.padding is None else layer.padding.tolist()


CAUSAL = np.tri(LENGTH, dtype=np.bool_)


def test_keys_that_no_query_sees_are_padding_and_so_are_their_queries() -> None:
    right, left = REAL, REAL[::-1]
    assert found(layer_of(right[None, None])) == (~right).tolist()
    assert found(layer_of(right[None, None], causal=True)) == (~right).tolist()
    assert found(layer_of((CAUSAL & right)[None])) == (~right).tolist()
    assert found(layer_of((CAUSAL & left)[None])) == (~left).tolist()
    added = np.where(CAUSAL & left, 0, -1e9).astype(np.float32)
    assert found(layer_of(added[None])) == (~left).tolist()


def test_rows_that_were_opened_because_they_see_nothing_are_padding() -> None:
    """As transformers does it, for kernels that give NaN for such rows."""
    left = REAL[::-1]
    opened = CAUSAL & left
    opened[:2] = True
    assert found(layer_of(opened[None])) == (~left).tolist()


@pytest.mark.parametrize(
    "mask",
    [
        CAUSAL,
        np.ones((LENGTH, LENGTH), np.bool_),
        np.zeros((LENGTH, LENGTH), np.bool_),
        CAUSAL & ~np.tri(LENGTH, k=-3, dtype=np.bool_),
        ~np.eye(LENGTH, dtype=np.bool_),
        np.arange(LENGTH)[:, None] * np.ones(LENGTH) == 0,  # one that reads all, seen by none
    ],
    ids=["causal", "none", "all", "window", "all but itself", "one sees all"],
)
def test_other_masks_hide_no_query(mask: Any) -> None:
    if mask.sum() == LENGTH and mask[0].all():
        mask = mask | (np.arange(LENGTH) > 0)
    assert found(layer_of(mask[None])) is None


def test_keys_before_the_queries_own_are_no_queries() -> None:
    padded = np.array([False, True, True, True, False])
    layer = layer_of(padded[None, None], queries=3, keys=5, earlier=2)
    assert found(layer) == [False, False, True]
    assert found(layer_of(padded[None, None], queries=3, keys=5)) is None


def test_a_cross_attention_learns_of_its_queries_from_the_same_stack() -> None:
    own = layer_of(REAL[None, None])
    cross = layer_of(np.array([[[True, False, True]]]), keys=3, kind="cross_attention")
    assert found(cross) is None
    share_padding([own, cross])
    assert found(cross) == (~REAL).tolist()
    share_padding([cross])
    assert found(cross) is None


def reference(layer: LayerAttention) -> Any:
    """The real queries' weights [heads, real, keys] in float64, written out."""
    query, key = (np.asarray(each, np.float64) for each in (layer._query, layer._key))
    logits = query @ key.transpose(0, 2, 1) * layer.attention.scale
    logits = np.where(REAL, logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True))[:, REAL]


@pytest.mark.parametrize("side", [None, LENGTH, 3])
def test_padding_counts_in_no_statistic_and_is_shown_as_masked(side: int | None) -> None:
    layer = layer_of(REAL[None, None])
    weights = reference(layer)
    analysis = analyze_layer(layer, average_side=side)
    found, entropies = analysis.statistics, -(weights * np.log(np.maximum(weights, 1e-300))).sum(-1)
    assert found.mean == pytest.approx(weights.mean(), abs=1e-6)
    assert found.std == pytest.approx(weights.std(), abs=1e-6)
    assert found.min == 0
    assert found.max == pytest.approx(weights.max(), abs=1e-6)
    expected = (entropies / np.log(4)).mean(-1)
    assert found.heads["entropy"] == pytest.approx(expected, abs=1e-5)
    assert found.heads["first_token"] == pytest.approx(weights[..., 0].mean(-1), abs=1e-6)
    assert found.queries_used is None
    if side is not None:
        assert analysis.average is not None
        step = LENGTH // side
        padded = ~REAL[::step]
        assert analysis.average.masked.tolist() == (padded[:, None] | padded).tolist()


def test_queries_are_chosen_among_those_that_are_no_padding() -> None:
    layer = layer_of(REAL[None, None])
    found = analyze_layer(layer, statistics_queries=2).statistics
    weights = reference(layer)[:, [0, 3]]
    assert found.queries_used == 2
    assert found.max == pytest.approx(weights.max(), abs=1e-6)


def test_layers_that_are_computed_together_leave_it_out_too() -> None:
    layers = [layer_of(REAL[None, None], seed=seed) for seed in (1, 2)]
    plain = layer_of(None, seed=3)
    found = layer_statistics([*layers, plain], "all")
    for layer, statistics in zip(layers, found, strict=False):
        assert statistics.std == pytest.approx(reference(layer).std(), abs=1e-6)
    assert plain.padding is None


def test_what_the_batch_says_is_real_counts_although_the_mask_is_the_wrong_way_round() -> None:
    layer = layer_of(~REAL[None, None])
    assert found(layer) == REAL.tolist()
    block = ArrayBlock(0, "bool", (LENGTH,))
    capture = replace(CAPTURE, decoder_padding=block)
    declare_padding([layer], capture, (~REAL).tobytes())
    assert found(layer) is None
    (statistics,) = layer_statistics([layer], "all")
    assert statistics.heads["padding_mass"] == pytest.approx([1.0] * HEADS)
