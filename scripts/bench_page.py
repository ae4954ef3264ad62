"""Measure the page of `attnmon view` in a real browser.

    python scripts/bench_page.py [--quick] [--json FILE]

A run of many captures of twelve layers with twelve heads, 128 tokens: the time from asking for the
page to its first map, to all 144 thumbnails, and how many captures a second the slider shows that
were never loaded. And a training that is followed: the time from a capture's line in
`history.jsonl` to its map in the page. Needs playwright and Debian's chromium.
"""

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from benchlib.page_timing import browser, following, painting, sliding, viewed, why_no_browser
from torch import nn

from attnmon import TrainingAttentionMonitor

LAYERS, HEADS, TOKENS, WIDTH = 12, 12, 128, 96
CAPTURES, QUICK_CAPTURES = 1000, 20
FOLLOWED, QUICK_FOLLOWED = 50, 2
FOLLOWED_SECONDS = 0.5
"""From one capture to the next of the training that is followed."""


def watched(folder: Path, layers: int, heads: int) -> tuple[nn.Module, TrainingAttentionMonitor]:
    """Return a model, and a monitor that keeps all of its maps."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, heads, WIDTH, batch_first=True)
    monitor = TrainingAttentionMonitor(
        folder, 1, visualization_types=[], layers_to_visualize="all", heads_to_visualize="all",
        maps="all", max_overhead=None, use_tensorboard=False,
    )  # fmt: skip
    return nn.TransformerEncoder(layer, layers), monitor


def record(folder: Path, captures: int) -> None:
    """Write a run of many captures: one real one, which is repeated."""
    model, monitor = watched(folder, LAYERS, HEADS)
    with monitor:
        monitor.log_attention(model, torch.randn(1, TOKENS, WIDTH), step=0, loss=3.0)
    line = json.loads((folder / "history.jsonl").read_text())
    with open(folder / "history.jsonl", "a") as history:
        for step in range(1, captures):
            line["metadata"].update(step=step, loss=3 / (1 + step / 100))
            history.write(json.dumps(line) + "\n")
            (folder / f"step_{step}").mkdir()
            os.link(folder / "step_0/maps.safetensors", folder / f"step_{step}/maps.safetensors")


def train(folder: Path) -> None:
    """Train a small model until its input ends, and capture it as often as it is followed."""
    torch.set_num_threads(1)
    model, monitor = watched(folder, 2, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs = torch.randn(8, 32, WIDTH)
    with monitor:
        for step in count():
            loss = model(inputs).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.log_attention(model, inputs, step=step, loss=loss.item())
            if select.select([sys.stdin], [], [], FOLLOWED_SECONDS)[0]:
                break


def follow(captures: int, folder: Path) -> list[float]:
    """Return the delays of a training in a process of its own."""
    command = [sys.executable, __file__, "--train", str(folder / "run")]
    training = subprocess.Popen(command, stdin=subprocess.PIPE)
    history = folder / "run" / "history.jsonl"
    try:
        while not history.exists():
            time.sleep(0.02)
        with viewed(folder) as address, browser() as started:
            return following(started, address, history, captures)
    finally:
        training.communicate()  # which ends its input


def measure(quick: bool) -> dict[str, Any]:
    """Return all figures, in seconds."""
    captures = QUICK_CAPTURES if quick else CAPTURES
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        record(Path(folder) / "run", captures)
        with viewed(Path(folder)) as address, browser() as started:
            figures: dict[str, Any] = painting(started, address, LAYERS * HEADS)
            figures["captures_a_second"] = sliding(started, address, min(captures, 200))
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        delays = follow(QUICK_FOLLOWED if quick else FOLLOWED, Path(folder))
    figures["line_to_paint"] = median(delays)
    figures["line_to_paint_p95"] = quantiles(delays, n=20)[-1] if len(delays) > 1 else delays[0]
    figures["captures_followed"] = len(delays)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the page of `attnmon view`.")
    parser.add_argument("--quick", action="store_true", help="few captures: is it measured at all?")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train)
        return
    if missing := why_no_browser():
        print(f"the page is not measured: {missing}")
        return
    figures = measure(given.quick)
    for name, value in figures.items():
        print(f"    {name.replace('_', ' '):30}{value:.3g}")
    if given.json:
        given.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
