"""The promise: training with the monitor takes the same steps and gives the same numbers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.comparable_training import (
    STEPS,
    StatefulModel,
    text_inputs,
    train,
    translation_inputs,
)
from support.models import Translator
from support.outputs import summary
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor

CASES = {"translator": (Translator, translation_inputs), "restless": (StatefulModel, text_inputs)}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("monitor", [TrainingAttentionMonitor, LightweightAttentionMonitor])
def test_training_is_bit_identical_with_a_capture_at_every_step(
    case: str, monitor: Callable[..., Any], tmp_path: Path
) -> None:
    make, inputs = CASES[case]
    without = train(make, inputs, None)
    with monitor(tmp_path, 1, on_full="wait", max_overhead=None) as watching:
        with_it = train(make, inputs, watching)
    assert summary(tmp_path)["captured"] == STEPS, "it must have looked at every step"
    assert summary(tmp_path)["rendered"] == STEPS
    assert without.keys() == with_it.keys()
    for name, expected in without.items():
        same = torch.equal(expected, with_it[name]) if torch.is_tensor(expected) else None
        assert expected == with_it[name] if same is None else same, f"{name} differs"


def test_two_trainings_that_differ_are_told_apart() -> None:
    """The comparison above can fail: one draw from torch's generator is enough."""

    class Disturbing:
        def log_attention(self, *args: Any) -> None:
            torch.rand(())

    one, other = train(*CASES["translator"], None), train(*CASES["translator"], Disturbing())
    assert not torch.equal(one["losses"], other["losses"])
    assert not torch.equal(one["torch"], other["torch"])


class Frozen(nn.Module):
    """A frozen encoder, which takes torch's fast path, under a layer that is trained."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def train(self, mode: bool = True) -> "Frozen":
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.encoder(x)
        mixed: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return mixed


def test_a_frozen_encoder_keeps_its_fast_path(tmp_path: Path) -> None:
    def losses(monitor: LightweightAttentionMonitor | None) -> list[float]:
        torch.manual_seed(0)
        model, found = Frozen().train(), []
        for step in range(20):
            x = torch.randn(8, 16, 32)
            loss = model(x).pow(2).mean()
            loss.backward()
            with torch.no_grad():
                for parameter in model.attention.parameters():
                    parameter -= 0.1 * (0 if parameter.grad is None else parameter.grad)
                    parameter.grad = None
            found.append(loss.item())
            if monitor is not None:
                monitor.log_attention(model, x, step=step)
        return found

    expected = losses(None)
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        assert losses(monitor) == expected
    assert monitor.close()["rendered"] == 20
