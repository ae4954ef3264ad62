"""No public call raises into the training, whatever it is given, and whenever it is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.hostile import HostileError, hostile_values
from support.models import LanguageModel, batch

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor

WEIGHTS = torch.ones(1, 1, 2, 2) / 2
QUERY = torch.ones(1, 1, 2, 4)
Monitor = TrainingAttentionMonitor | LightweightAttentionMonitor


def calls(model: torch.nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each public call with each of its arguments replaced by each hostile value."""
    whole: list[tuple[str, dict[str, Any]]] = [
        ("log_attention", {
            "model": model, "enc": batch(), "dec": None, "step": 0, "loss": 0.5, "epoch": None,
            "lr": None, "tokens": None,
        }),
        ("record", {"name": "a", "weights": WEIGHTS, "query": None, "causal": False, "role": None}),
        ("record", {"name": "a", "query": QUERY, "key": QUERY, "mask": None, "scale": None}),
        ("attach", {"model": model}),
        ("capture", {"step": 0, "inputs": None, "epoch": None}),
        ("dump", {"why": "x"}),
    ]  # fmt: skip
    for name, arguments in whole:
        for replaced in arguments:
            for value in hostile_values().values():
                yield name, {**arguments, replaced: value}


def call_all(monitor: Monitor, model: torch.nn.Module) -> None:
    for name, arguments in calls(model):
        call = getattr(monitor, name)
        if name == "capture":
            with call(**arguments):
                pass
        else:
            call(**arguments)
        monitor._guard.succeeded()  # or it would be off after three
        monitor.capture_next()
        monitor.coverage()
        monitor.detach()
        monitor.disable()
        monitor.enable()


@pytest.mark.parametrize(
    "kind", [TrainingAttentionMonitor, LightweightAttentionMonitor], ids=lambda kind: kind.__name__
)
def test_no_call_raises_and_every_capture_is_counted(kind: type[Monitor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LanguageModel()
    monitor = kind(tmp_path, 1, keep_last=2, max_overhead=None)
    call_all(monitor, model)
    monitor.log_attention(model, batch(), step=5)
    call_all(monitor, model)
    accounts = monitor.close()
    call_all(monitor, model)
    settled = ("rendered", "dropped", "failed", "pending")
    assert accounts["captured"] == sum(accounts[name] for name in settled) > 100
    assert accounts["rendered"] > 0
    assert accounts["off"] is None


@pytest.mark.parametrize("name", hostile_values())
def test_closing_takes_any_time_for_the_usual_one(name: str, tmp_path: Path) -> None:
    monitor = LightweightAttentionMonitor(tmp_path, 1, close_timeout=30)
    monitor.record("a", weights=WEIGHTS)
    monitor.log_attention(step=0)
    assert monitor.close(timeout=hostile_values()[name])["rendered"] == 1


def test_an_error_that_leaves_the_block_is_the_script_s_own(tmp_path: Path) -> None:
    monitor = LightweightAttentionMonitor(tmp_path, 1, keep_last=2)
    with pytest.raises(HostileError), monitor:
        raise HostileError
    assert not monitor.enabled
    assert monitor.close()["failed"] == 0


class Failing(torch.nn.Module):
    """Fails in the extra forward, in a frame that holds an object."""

    def __init__(self, error: Exception, held: Any) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        self._error = error
        vars(self)["held"] = held  # torch would ask it for its class

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            self._fail(self.held, 5)
        return self.layer(x)  # type: ignore[no-any-return]

    def _fail(self, held: Any, number: int) -> None:
        raise self._error


def test_a_model_s_error_is_counted_whatever_it_is_and_its_frames_hold(tmp_path: Path) -> None:
    monitor = LightweightAttentionMonitor(tmp_path, 1, max_overhead=None)
    for value in hostile_values().values():
        model = Failing(HostileError(), value)
        monitor.log_attention(model, torch.ones(2, 3, 4))
        monitor._guard.succeeded()
    accounts = monitor.close()
    assert accounts["captured"] == accounts["failed"] == len(hostile_values())
