"""Calls that are known, and copied by their arguments: every map is still that of its own step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from support.outputs import history, summary
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor
from attnmon.capture.calls.adapter import autocast_rounding
from attnmon.layers.layout_registry import FOLLOWED_FIRST
from attnmon.serialize.serializer import CaptureSerializer

BATCH, HEADS, LENGTH, WIDTH, SAMPLE = 4, 4, 9, 8, 2
STEPS = 7
Options = dict[str, Any]


class Attending(nn.Module):
    """One attention, with options that may be others at every step; keeps what it was given."""

    def __init__(self, key_heads: int = HEADS) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, HEADS * WIDTH)
        self.key = nn.Linear(WIDTH, key_heads * WIDTH)
        self.options: Options = {}
        self.given: tuple[Tensor, Tensor] | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        query, key = (
            part(hidden).unflatten(-1, (-1, WIDTH)).transpose(1, 2)
            for part in (self.query, self.key)
        )
        self.given = query.detach().clone(), key.detach().clone()
        return F.scaled_dot_product_attention(query, key, key, **self.options)


def weights_of(model: Attending, sample: int = SAMPLE) -> Tensor:
    """[heads, queries, keys] in float64, of what the model was given last."""
    assert model.given is not None
    query, key = (part[sample].double() for part in model.given)
    key = key.repeat_interleave(HEADS // len(key), 0)
    options = model.options
    scale = options.get("scale")
    logits = query @ key.mT * float(WIDTH**-0.5 if scale is None else scale)
    if options.get("is_causal"):
        logits = logits.masked_fill(torch.ones(LENGTH, LENGTH).triu(1).bool(), -torch.inf)
    mask = options.get("attn_mask")
    if mask is not None:
        mask = mask.detach().expand(*mask.shape[:-2], LENGTH, LENGTH)
        mask = mask[min(sample, len(mask) - 1)] if mask.dim() == 4 else mask
        is_bool = mask.dtype == torch.bool
        logits = logits.masked_fill(~mask, -torch.inf) if is_bool else logits + mask
    return logits.softmax(-1)


def written_at(run: Path, step: int) -> Tensor:
    """[heads, queries, keys]; what is allowed stands beside it."""
    maps = load_file(run / f"step_{step}" / "attention_weights.safetensors")
    (weights,) = (values for values in maps.values() if values.is_floating_point())
    return weights


def bool_mask(*shape: int) -> Tensor:
    mask = torch.rand(*shape) > 0.4
    mask[..., 0] = True
    return mask


def masks_in_turn() -> Iterator[Options]:
    while True:
        yield {}
        yield {"attn_mask": torch.randn(LENGTH, LENGTH)}
        yield {"attn_mask": bool_mask(BATCH, HEADS, LENGTH, LENGTH)}
        yield {"attn_mask": bool_mask(BATCH, 1, 1, LENGTH)}


def a_mask_that_is_changed_in_place() -> Iterator[Options]:
    mask = bool_mask(LENGTH, LENGTH)
    while True:
        yield {"attn_mask": mask}
        mask.copy_(bool_mask(LENGTH, LENGTH))


def a_learned_bias() -> Iterator[Options]:
    bias = nn.Parameter(torch.zeros(1, HEADS, LENGTH, LENGTH))
    while True:
        yield {"attn_mask": bias.expand(BATCH, -1, -1, -1)}
        nn.init.normal_(bias)


def a_scale_that_is_changed_in_place() -> Iterator[Options]:
    scale = torch.tensor(0.1)
    while True:
        yield {"scale": scale}
        scale += 0.3


def causal_in_turn() -> Iterator[Options]:
    while True:
        yield {"is_causal": True}
        yield {"scale": 0.7, "dropout_p": 0.3}


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that were described, and not copied by their arguments alone."""
    names: list[str] = []
    write = CaptureSerializer.write

    def noted(self: CaptureSerializer, place: Any, seen: Any, *others: Any) -> None:
        names.append(seen.name)
        write(self, place, seen, *others)

    monkeypatch.setattr(CaptureSerializer, "write", noted)
    return names


@pytest.mark.parametrize(
    ("options", "most_described"),
    [
        (masks_in_turn, FOLLOWED_FIRST + 1),
        (a_mask_that_is_changed_in_place, FOLLOWED_FIRST + 1),
        (a_learned_bias, FOLLOWED_FIRST + 1),
        (a_scale_that_is_changed_in_place, STEPS),
        (causal_in_turn, FOLLOWED_FIRST + 2),
    ],
)
@pytest.mark.parametrize("key_heads", [HEADS, 1])
def test_every_map_is_that_of_its_step(
    options: Callable[[], Iterator[Options]],
    most_described: int,
    key_heads: int,
    described: list[str],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    model, expected = Attending(key_heads), []
    with TrainingAttentionMonitor(
        tmp_path, 1, capture="forward", save_raw_weights=True, batch_idx_to_visualize=SAMPLE
    ) as monitor:
        monitor.attach(model)
        for step, chosen in zip(range(STEPS), options(), strict=False):
            model.options = {**chosen, "enable_gqa": key_heads < HEADS}
            model(torch.randn(BATCH, LENGTH, WIDTH)).sum().backward()
            expected.append(weights_of(model))
            monitor.log_attention(model, step=step)
    assert summary(tmp_path)["rendered"] == STEPS
    assert 1 <= len(described) <= most_described
    for step, weights in enumerate(expected):
        written = written_at(tmp_path, step)
        torch.testing.assert_close(written.double(), weights, rtol=0, atol=1e-6)


class Positioned(Attending):
    """With an input that has no samples, and is longer than the batch."""

    def forward(self, hidden: Tensor, positions: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(hidden + positions[:LENGTH, None] / 100)


@pytest.mark.parametrize("mode", ["auto", "forward"])
def test_a_batch_that_is_smaller_than_another_input(
    mode: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last sample is taken, at every capture, and said to be."""
    torch.manual_seed(0)
    model, expected = Positioned(), []
    sizes = (8, 8, 8, BATCH, BATCH, BATCH, 8)
    with TrainingAttentionMonitor(
        tmp_path, 1, capture=mode, save_raw_weights=True, batch_idx_to_visualize=5
    ) as monitor:
        for step, size in enumerate(sizes):
            inputs = torch.randn(size, LENGTH, WIDTH), torch.arange(16)
            model(*inputs).sum().backward()
            expected.append(weights_of(model, min(5, size - 1)))
            monitor.log_attention(model, inputs, step=step)
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "batch_idx_to_visualize=5, but a batch had only 4" in warning
    lines = history(tmp_path)
    assert len(lines) == summary(tmp_path)["rendered"] >= len(sizes) - 1
    for line in lines:
        step = line["metadata"]["step"]
        assert line["metadata"]["sample"] == min(5, sizes[step] - 1)
        written = written_at(tmp_path, step)
        torch.testing.assert_close(written.double(), expected[step], rtol=0, atol=1e-6)


def test_autocast_is_asked_for_by_device() -> None:
    """Of each: torch's own list of those where any may be on lacks some."""
    device = SimpleNamespace(type="mps")
    query = cast("Tensor", SimpleNamespace(device=device, is_cpu=False, dtype=torch.float32))
    before = torch.get_autocast_dtype("mps")
    torch.set_autocast_enabled("mps", True)
    torch.set_autocast_dtype("mps", torch.float16)
    try:
        assert autocast_rounding(query) == torch.float16
    finally:
        torch.set_autocast_enabled("mps", False)
        torch.set_autocast_dtype("mps", before)
    assert autocast_rounding(query) is None
