"""The page while a model trains: what is captured appears by itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support.browsing import Look
from support.forked_script import PipedScript
from support.project import TESTS
from support.served import served

from attnmon_renderer.drawing.spec.palettes import WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import weight_scale

pytestmark = pytest.mark.browser
LAYER, LAYER_WORDS = "decoder_layer1_self_attn", "decoder self layer 1"
STEPS = 3
TRAINING = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import torch
from attnmon import TrainingAttentionMonitor
from support.models import LanguageModel, batch

torch.manual_seed(0)
model = LanguageModel()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = TrainingAttentionMonitor(
    sys.argv[1], 1, visualization_types=["heatmap"], layers_to_visualize="all",
    heads_to_visualize="all", maps="all", max_overhead=None, use_tensorboard=False,
)
with monitor:
    for step, _ in enumerate(sys.stdin):
        inputs = batch(length=9, seed=step)
        loss = model(inputs).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.log_attention(model, inputs, step=step, loss=loss.item())
"""
"""A line that it reads is a step that it makes."""


def test_a_training_is_followed(look: Callable[..., Look], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    training = PipedScript(TRAINING, str(folder))
    with served(tmp_path, "--port", 0) as server:
        print(file=training.stdin, flush=True)
        while not (folder / "history.jsonl").exists():
            assert training.poll() is None
            time.sleep(0.05)
        page = look(at=server)
        page.page.add_init_script(_STREAMS)
        page.open("scale=0.5", "/latest")
        for step in range(STEPS):
            page.shown(step)
            assert page.text(".step") == f"step {step}"
            if step + 1 < STEPS:
                if step:
                    hide(page, True)
                    page.until("window.streams.every(({ readyState }) => readyState === 2)")
                print(file=training.stdin, flush=True)
                if step:
                    hide(page, False)
        assert page.text("attn-status b") == "running"
        page.page.click(f"[title^='{LAYER_WORDS}, head 1']")
        page.query("head=1")
        _, errors = training.communicate()
        assert training.returncode == 0, errors
        page.page.wait_for_selector("attn-status b:text-is('closed')")
        page.shown(STEPS - 1)
        page.until("document.querySelector('attn-map').content.value.map.head === '1'")
        assert np.array_equal(page.cells(STEPS - 1), expected_of(folder / f"step_{STEPS - 1}"))
        assert "latest?" in page.page.url, "it goes on to lead to the newest"
        page.end()


_STREAMS = """
  window.streams = [];
  window.EventSource = class extends EventSource {
    constructor(...given) {
      super(...given);
      streams.push(this);
    }
  };
"""


def hide(page: Look, is_hidden: bool) -> None:
    """Has the page believe that its tab is in the background."""
    page.page.evaluate(
        """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }""",
        is_hidden,
    )


def expected_of(step: Path) -> np.ndarray[Any, Any]:
    """Returns the colours of the stored codes of head 1, on a scale up to 0.5."""
    stored = safetensors.numpy.load_file(str(step / "maps.safetensors"))
    weights = np.float64(stored[f"{LAYER}.scale"][1]) * (stored[LAYER][1] / 255) ** 2
    colours: np.ndarray[Any, Any] = WEIGHT_PALETTE.colours[
        weight_scale(0.5).indices(weights, ~np.tri(9, dtype=bool))
    ]
    return colours
