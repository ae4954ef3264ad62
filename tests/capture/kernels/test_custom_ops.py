"""Attention operators of libraries that need a GPU: registered here under their names and with
their schemas, computing one row after the other."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.tapping import exact_weights, tapped
from torch import Tensor, nn

from attnmon.capture import AttentionCall
from attnmon.capture.calls.verification import output_error

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 9, 16


def calls_and_reasons(
    forward: Callable[[], object],
) -> tuple[list[AttentionCall], list[str]]:
    """The calls that are captured of this forward, and why others are not."""
    log = tapped(nn.Module(), forward)
    return log.calls, log.reasons


for library in ("flash_attn", "flash_attn_3", "xformers"):
    if importlib.util.find_spec(library) is not None:
        pytest.skip(f"{library} itself is here", allow_module_level=True)


def rows(
    query: Tensor, key: Tensor, value: Tensor, allowed: Callable[[int, int], bool],
    added: Callable[[int, int, int], float] = lambda h, i, j: 0.0,
    scale: float | None = None, softcap: float = 0.0, sinks: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Attention of one sample, [positions, heads, width], one row after the other, in float64."""
    query, key, value = query.double(), key.double(), value.double()
    group = query.shape[1] // key.shape[1]
    output = torch.zeros(*query.shape[:2], value.shape[-1], dtype=torch.float64)
    for i in range(query.shape[0]):
        for h in range(query.shape[1]):
            seen = [j for j in range(key.shape[0]) if allowed(i, j)]
            logits = key[seen, h // group] @ query[i, h] * (scale or query.shape[-1] ** -0.5)
            if softcap:
                logits = softcap * torch.tanh(logits / softcap)
            logits = logits + torch.tensor([added(h, i, j) for j in seen], dtype=torch.float64)
            whole = logits if sinks is None else torch.cat([logits, sinks[h : h + 1].double()])
            output[i, h] = whole.softmax(0)[: len(seen)] @ value[seen, h // group]
    return output


def flash_allowed(
    queries: int, keys: int, causal: bool, left: int, right: int
) -> Callable[[int, int], bool]:
    """As in flash-attn since 2.1: the last query stands where the last key does."""

    def allowed(i: int, j: int) -> bool:
        distance = j - (i + keys - queries)
        too_late = distance > (0 if causal else right) and (causal or right >= 0)
        return not too_late and not (left >= 0 and distance < -left)

    return allowed


FLASH = torch.library.Library("flash_attn", "DEF")
FLASH.define(
    "_flash_attn_forward(Tensor q, Tensor k, Tensor v, float dropout_p, float softmax_scale, "
    "bool causal, int window_size_left, int window_size_right, float softcap, "
    "Tensor? alibi_slopes, bool return_softmax) -> (Tensor, Tensor, Tensor, Tensor)"
)
FLASH.define(
    "_flash_attn_varlen_forward(Tensor q, Tensor k, Tensor v, Tensor cu_seqlens_q, "
    "Tensor cu_seqlens_k, int max_seqlen_q, int max_seqlen_k, float dropout_p, "
    "float softmax_scale, bool causal, int window_size_left=-1, int window_size_right=-1, "
    "float softcap=0.0, Tensor? alibi_slopes=None, bool return_softmax=False, "
    "Tensor? block_table=None) -> (Tensor, Tensor, Tensor, Tensor)"
)
FLASH.define("_flash_attn_quantised(Tensor q, Tensor k, Tensor v) -> Tensor")
FLASH.impl("_flash_attn_quantised", lambda q, k, v: torch.empty_like(q), "CPU")
XFORMERS = torch.library.Library("xformers", "DEF")
XFORMERS.define(
    "efficient_attention_forward_cutlass(Tensor query, Tensor key, Tensor value, "
    "Tensor? attn_bias, Tensor? cu_seqlens_q, Tensor? cu_seqlens_k, int? max_seqlen_q, "
    "float dropout_p, bool compute_logsumexp, int custom_mask_type, float? scale, "
    "Tensor? seqlen_k, int? window_size) -> (Tensor, Tensor)"
)
HOPPER = torch.library.Library("flash_attn_3", "DEF")
HOPPER.define(
    "fwd(Tensor q, Tensor k, Tensor v, Tensor? q_descale, float? softmax_scale, bool causal, "
    "int window_size_left=-1, int window_size_right=-1, float softcap=0.0, Tensor? s_aux=None) "
    "-> (Tensor, Tensor)"
)
NOTHING = torch.empty(0)


def flash(q, k, v, p, scale, causal, left, right, softcap, slopes, _):  # type: ignore[no-untyped-def]
    shift = k.shape[1] - q.shape[1]
    outputs = [
        rows(
            q[b], k[b], v[b], flash_allowed(q.shape[1], k.shape[1], causal, left, right),
            lambda h, i, j, b=b: 0.0 if slopes is None
            else -float(slopes.expand(len(q), -1)[b, h]) * abs(i + shift - j),
            scale, softcap,
        )
        for b in range(len(q))
    ]  # fmt: skip
    return torch.stack(outputs).to(q.dtype), NOTHING.clone(), NOTHING.clone(), NOTHING.clone()


def flash_packed(q, k, v, q_starts, k_starts, _, __, p, scale, causal, left=-1, right=-1, *___):  # type: ignore[no-untyped-def]
    outputs = []
    for at in range(len(q_starts) - 1):
        of_q, of_k = (slice(int(s[at]), int(s[at + 1])) for s in (q_starts, k_starts))
        allowed = flash_allowed(len(q[of_q]), len(k[of_k]), causal, left, right)
        outputs.append(rows(q[of_q], k[of_k], v[of_k], allowed, scale=scale))
    return torch.cat(outputs).to(q.dtype), NOTHING.clone(), NOTHING.clone(), NOTHING.clone()


def cutlass(q, k, v, bias, _, __, ___, p, ____, mask_type, scale, seqlen_k, window):  # type: ignore[no-untyped-def]
    shift = {0: math.inf, 1: 0, 2: k.shape[1] - q.shape[1]}[mask_type]
    outputs = [
        rows(
            q[b], k[b], v[b], lambda i, j: j <= i + shift,
            lambda h, i, j, b=b: 0.0 if bias is None else float(bias[b, h, i, j]), scale,
        )
        for b in range(len(q))
    ]  # fmt: skip
    return torch.stack(outputs).to(q.dtype), NOTHING.clone()


def hopper(q, k, v, _, scale, causal, left=-1, right=-1, softcap=0.0, sinks=None):  # type: ignore[no-untyped-def]
    allowed = flash_allowed(q.shape[1], k.shape[1], causal, left, right)
    outputs = [
        rows(*of, allowed, scale=scale, softcap=softcap, sinks=sinks)
        for of in zip(q, k, v, strict=True)
    ]
    return torch.stack(outputs).to(q.dtype), NOTHING.clone()


FLASH.impl("_flash_attn_forward", flash, "CPU")
FLASH.impl("_flash_attn_varlen_forward", flash_packed, "CPU")
XFORMERS.impl("efficient_attention_forward_cutlass", cutlass, "CPU")
HOPPER.impl("fwd", hopper, "CPU")


def qkv(queries: int = LENGTH, keys: int = LENGTH, key_heads: int = HEADS) -> tuple[Tensor, ...]:
    """[batch, positions, heads, width]"""
    sizes = ((queries, HEADS), (keys, key_heads), (keys, key_heads))
    return tuple(torch.randn(BATCH, *size, WIDTH) for size in sizes)


SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])
FLASH_CALLS = {
    "plain": (qkv(), (0.0, 0.25, False, -1, -1, 0.0, None, False)),
    "causal": (qkv(), (0.0, 0.25, True, -1, -1, 0.0, None, False)),
    "causal, fewer queries": (qkv(5), (0.0, 0.25, True, -1, -1, 0.0, None, False)),
    "window": (qkv(), (0.0, 0.25, False, 3, 0, 0.0, None, False)),
    "causal window, fewer queries": (qkv(6), (0.0, 0.25, True, 2, 0, 0.0, None, False)),
    "soft cap, grouped": (qkv(key_heads=2), (0.0, 2.0, True, -1, -1, 5.0, None, False)),
    "ALiBi": (qkv(), (0.0, 0.25, True, -1, -1, 0.0, SLOPES, False)),
    "ALiBi by sample": (qkv(5), (0.0, 0.25, False, -1, -1, 0.0, SLOPES.repeat(BATCH, 1), False)),
}


def check(operator: Callable[..., Any], *arguments: Any) -> AttentionCall:
    results: list[Any] = []
    (call,), reasons = calls_and_reasons(lambda: results.append(operator(*arguments)))
    assert reasons == []
    assert call.output is not None
    assert torch.equal(call.output.transpose(1, 2).reshape(results[0][0].shape), results[0][0])
    assert output_error(call) < 1e-5
    return call


@pytest.mark.parametrize(("tensors", "options"), FLASH_CALLS.values(), ids=FLASH_CALLS)
def test_flash_attention(tensors: tuple[Tensor, ...], options: tuple[Any, ...]) -> None:
    for operator in (
        torch.ops.flash_attn._flash_attn_forward,
        torch.ops.flash_attn._flash_attn_forward.default,
    ):
        call = check(operator, *tensors, *options)
        assert (call.source, call.heads) == ("flash_attn::_flash_attn_forward", HEADS)
    assert (call.bias is None) == (
        options[3:5] == (-1, -1) and options[6] is None and tensors[0].shape[1] == LENGTH
    )


@pytest.mark.parametrize("options", [(False,), (True,), (True, 2, 0)])
def test_packed_sequences_see_only_themselves(options: tuple[Any, ...]) -> None:
    query, key = torch.randn(9, HEADS, WIDTH), torch.randn(12, HEADS, WIDTH)
    starts = torch.tensor([0, 4, 9]), torch.tensor([0, 5, 12])
    operator = torch.ops.flash_attn._flash_attn_varlen_forward
    call = check(operator, query, key, key, *starts, 5, 7, 0.0, 0.25, *options)
    weights = exact_weights(call)
    assert weights.shape == (1, HEADS, 9, 12)
    assert (weights[..., :4, 5:] == 0).all()
    assert (weights[..., 4:, :5] == 0).all()


@pytest.mark.parametrize("mask_type", [0, 1, 2])
@pytest.mark.parametrize("biased", [False, True])
def test_xformers(mask_type: int, biased: bool) -> None:
    bias = torch.randn(BATCH, HEADS, 5, LENGTH) if biased else None
    arguments = (bias, None, None, None, 0.0, False, mask_type, None, None, None)
    check(torch.ops.xformers.efficient_attention_forward_cutlass, *qkv(5), *arguments)


def test_sinks_and_soft_cap_of_flash_attention_3() -> None:
    check(torch.ops.flash_attn_3.fwd, *qkv(), None, 0.25, True, -1, -1, 5.0, torch.randn(HEADS))


def test_dropout_leaves_no_output_to_check_against() -> None:
    options = (0.1, 0.25, False, -1, -1, 0.0, None, False)
    (call,), _ = calls_and_reasons(
        lambda: torch.ops.flash_attn._flash_attn_forward(*qkv(), *options)
    )
    assert call.output is None


def test_what_is_not_known_is_refused_by_name() -> None:
    def forward() -> None:
        torch.ops.flash_attn._flash_attn_quantised(*qkv())
        torch.ops.flash_attn_3.fwd(*qkv(), torch.ones(1), None, False)
        packed = (torch.randn(9, HEADS, WIDTH),) * 3
        starts = (torch.tensor([0, 9]),) * 2
        torch.ops.flash_attn._flash_attn_varlen_forward(
            *packed, *starts, 9, 9, 0.0, 0.25, False, block_table=torch.zeros(1)
        )

    calls, reasons = calls_and_reasons(forward)
    assert calls == []
    assert reasons == [
        "the operator flash_attn::_flash_attn_quantised is not known: "
        "give query and key to record()",
        "flash_attn_3::fwd with q_descale: not known",
        "flash_attn::_flash_attn_varlen_forward with block_table: not known",
    ]
