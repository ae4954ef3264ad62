"""What is not captured is said where people look: on standard error, in the files, by `close`."""

import logging.config
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import LanguageModel, batch
from support.outputs import summary
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor

OFF = "attnmon is off from now on"


@pytest.fixture
def no_loggers() -> Any:
    """A configuration that disables all loggers that exist, as `dictConfig` does by default."""
    logging.config.dictConfig({"version": 1})
    yield
    logging.getLogger("attnmon").disabled = False


class Additive(nn.Module):
    """Attends by added scores, which cannot be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.c(torch.tanh(self.a(x)[:, :, None] + self.b(x)[:, None]))[..., 0]
        return scores.softmax(-1) @ x


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("this model wants nine features")


@pytest.mark.parametrize(
    ("kind", "why"), [(Additive, "no attention was seen"), (Picky, "wants nine features")]
)
def test_a_monitor_that_gives_up_says_so_though_loggers_are_disabled(
    kind: Any, why: str, no_loggers: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monitor = LightweightAttentionMonitor(tmp_path, 1)
    for step in range(5):
        monitor.log_attention(kind(), torch.randn(2, 5, 8), step=step)
    said = capfd.readouterr().err
    assert said.count(OFF) == 1
    accounts = monitor.close()
    places = {"standard error": said, "close()": accounts["off"], "file": summary(tmp_path)["off"]}
    assert {place: why in text for place, text in places.items()} == dict.fromkeys(places, True)
    assert any(why in warning for warning in summary(tmp_path)["warnings"])


def test_a_monitor_without_a_renderer_says_so_in_a_summary(
    no_loggers: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    why = "there is no renderer to attach to"
    monitor = TrainingAttentionMonitor(tmp_path, 1, renderer=str(tmp_path / "nobody.sock"))
    assert summary(tmp_path)["state"] == "off"
    monitor.log_attention(LanguageModel(), batch(), step=0)
    accounts = monitor.close()
    said = capfd.readouterr().err
    assert said.count(OFF) == 1
    for text in (said, summary(tmp_path)["off"], accounts["off"]):
        assert why in text


def frozen_by_its_bundler(app: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "frozen", True, raising=False)


def frozen_by_nuitka(app: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules["__main__"], "__compiled__", True, raising=False)


def embedding_python(app: Path, patch: pytest.MonkeyPatch) -> None:
    other = app.with_name("trainer")
    app.rename(other)
    patch.setattr(sys, "executable", str(other))


@pytest.mark.parametrize("become", [frozen_by_its_bundler, frozen_by_nuitka, embedding_python])
def test_a_frozen_application_is_not_started_again_and_says_what_to_do(
    become: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, started = tmp_path / "python-trainer", tmp_path / "started"
    app.write_text(f"#!/bin/sh\ntouch {started}\n")
    app.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(app))
    become(app, monkeypatch)
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path / "logs", 1) as monitor:
        for step in range(3):
            model(batch()).sum().backward()
            monitor.log_attention(model, batch(), step=step)
    time.sleep(0.2)
    assert not started.exists()
    assert len(caplog.messages) == 1
    for text in (caplog.text, monitor.close()["off"], summary(tmp_path / "logs")["off"]):
        assert "a frozen application" in text
        assert "Start `attnmon-renderer` on this machine before the training" in text


def test_a_monitor_that_is_on_says_so_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    accounts, said = monitor.close(), summary(tmp_path)
    for name, nothing in {"off": None, "not_seen": [], "warnings": []}.items():
        assert (accounts[name], said[name]) == (nothing, nothing)
    assert capfd.readouterr().err == ""
