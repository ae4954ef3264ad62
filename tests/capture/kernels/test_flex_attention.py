"""flex_attention: an identity as the value makes it show its own weights."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.tapping import exact_weights, probed_calls, tapped
from torch import Tensor, nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attnmon.capture import AttentionCall, discover
from attnmon.capture.calls.verification import output_error

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 9, 16


def calls_and_reasons(
    forward: Callable[[], object],
) -> tuple[list[AttentionCall], list[str]]:
    """The calls that are captured of this forward, and why others are not."""
    with torch.compiler.set_stance("force_eager"), torch.no_grad():
        log = tapped(nn.Module(), forward)
    return log.calls, log.reasons


TABLE = torch.randn(HEADS, 2 * LENGTH)
DOCUMENT = torch.tensor([0, 0, 0, 1, 1, 1, 1, 2, 2])


def causal(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return i >= j


def documents(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return (DOCUMENT[i] == DOCUMENT[j]) & (i >= j)


def by_head(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return (i - j).abs() <= h + b


def relative(s: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return s + TABLE[h, i - j + LENGTH]


def capped(s: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return torch.where(i >= j, 5.0 * torch.tanh(s / 5.0), -torch.inf)


def blocks(mask: Callable[..., Tensor] | None, batch: int | None, heads: int | None) -> Any:
    if mask is None:
        return None
    return create_block_mask(mask, batch, heads, LENGTH, LENGTH, device="cpu")


FLEX = [
    (None, None, {}),
    (None, (causal, None, None), {"scale": 0.3}),
    (None, (documents, None, None), {}),
    (None, (by_head, BATCH, HEADS), {}),
    (relative, None, {}),
    (relative, (causal, 1, None), {"enable_gqa": True}),
    (capped, None, {}),
]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("score_mod", "mask", "options"), FLEX)
def test_flex_attention(
    score_mod: Callable[..., Tensor] | None, mask: Any, options: dict[str, Any]
) -> None:
    query = torch.randn(BATCH, HEADS, LENGTH, WIDTH) * 2
    key_heads = 2 if "enable_gqa" in options else HEADS
    key = torch.randn(BATCH, key_heads, LENGTH, WIDTH)
    identity = torch.eye(LENGTH).expand(BATCH, key_heads, LENGTH, LENGTH).contiguous()
    block_mask = None if mask is None else blocks(*mask)
    results: list[Tensor] = []

    def forward() -> None:
        results.append(flex_attention(query, key, identity, score_mod, block_mask, **options))

    (call,), reasons = calls_and_reasons(forward)
    assert (call.source, call.heads, reasons) == ("flex_attention", HEADS, [])
    torch.testing.assert_close(exact_weights(call).float(), results[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(
        exact_weights(call.of_sample(1)).float(), results[0][1], rtol=0, atol=1e-6
    )
    assert output_error(call) < 1e-5


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("score_mod", [None, relative])
def test_under_autocast_what_is_rounded_is_told(score_mod: Callable[..., Tensor] | None) -> None:
    query, key = (torch.randn(1, HEADS, LENGTH, WIDTH) * 3 for _ in range(2))

    def weights(query: Tensor, key: Tensor, autocast: bool) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            (call,), _ = calls_and_reasons(lambda: flex_attention(query, key, key, score_mod))
        return exact_weights(call.of_sample(0))

    rounded = weights(query.bfloat16().float(), key.bfloat16().float(), autocast=False)
    torch.testing.assert_close(weights(query, key, autocast=True), rounded, rtol=0, atol=1e-6)


class Flexible(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.attend = torch.compile(flex_attention, backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1)
        )
        mask = create_block_mask(causal, None, None, x.shape[1], x.shape[1], device="cpu")
        return self.attend(query, key, value, block_mask=mask)


def test_compiled_flex_attention_in_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen run eagerly, not compiled again afterwards, and without advice to compile it."""
    advice: set[str] = set()
    monkeypatch.setattr(sys.modules[flex_attention.__module__], "_WARNINGS_SHOWN", advice)
    model, x = Flexible(), torch.randn(BATCH, LENGTH, WIDTH)
    with torch.no_grad():
        expected = model(x)
    calls = probed_calls(model, x, None, sample=1, batch_dim=0)
    assert [(call.name, call.source) for call in calls] == [("", "flex_attention")]
    torch.testing.assert_close(calls[0].output[0], expected[1])
    assert discover(model, x, None).call_infos[0].causal
    with torch.compiler.set_stance("fail_on_recompile"), torch.no_grad():
        assert torch.equal(model(x), expected)
    assert not advice, "the user's own eager call is to be advised still"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_mask_too_large_to_write_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnmon.capture.calls.adapter.DENSE_LIMIT", LENGTH * LENGTH - 1)
    query = torch.randn(BATCH, HEADS, LENGTH, WIDTH)
    calls, reasons = calls_and_reasons(
        lambda: flex_attention(query, query, query, block_mask=blocks(causal, None, None))
    )
    assert calls == []
    assert reasons == ["this mask over 81 places is too large to be written out"]
