"""Measure what capturing attention costs the training process: idle steps, and due ones.

    python scripts/bench_capture.py [--quick] [--json FILE]

A round is one training step of each arm, in random order; every arm trains its own copy of the same
model. Processor time of the training process alone, in one thread: the renderer's is another
matter (`bench_overhead.py`). Ratios are of medians to that of plain training, with 95 % intervals
from resampling the rounds. Nothing is pictured, all layers and heads are taken.
"""

import argparse
import json
import platform
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from benchlib.one_thread import run_on_one_thread
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor

VOCABULARY = 1000
NEVER = 1 << 40
RESAMPLES = 2000
CALLS = 20_000
"""Calls of `log_attention` at steps that are not due, to time one."""


@dataclass(frozen=True)
class Size:
    """Sizes of a model and its inputs, and how many rounds are measured."""

    layers: int
    width: int
    heads: int
    batch: int
    length: int
    rounds: int

    def model(self) -> nn.Module:
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(
            self.width, self.heads, 4 * self.width, dropout=0.0, batch_first=True, norm_first=True
        )
        return nn.Sequential(
            nn.Embedding(VOCABULARY, self.width),
            nn.TransformerEncoder(layer, self.layers, enable_nested_tensor=False),
            nn.Linear(self.width, VOCABULARY),
        )

    def inputs(self, step: int) -> Tensor:
        generator = torch.Generator().manual_seed(step)
        return torch.randint(VOCABULARY, (self.batch, self.length), generator=generator)


SIZES = {
    "small": Size(2, 64, 4, batch=8, length=32, rounds=400),
    "medium": Size(6, 256, 8, batch=8, length=128, rounds=60),
}


class Arm:
    """One way to train, with a monitor or without."""

    def __init__(self, size: Size, monitor: LightweightAttentionMonitor | None) -> None:
        self.size, self.monitor = size, monitor
        self.model = size.model()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.taken = 0

    def step(self) -> float:
        """Make one step; returns its seconds of processor time."""
        inputs = self.size.inputs(self.taken)
        self.taken += 1
        start = time.process_time()
        logits = self.model(inputs)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), inputs.flatten())
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        if self.monitor is not None:
            self.monitor.log_attention(self.model, inputs, step=self.taken, loss=loss)
        return time.process_time() - start


def arms(size: Size, folder: Path, stack: ExitStack) -> dict[str, Arm]:
    def watched(name: str, attach: bool, **settings: Any) -> Arm:
        options: dict[str, Any] = {
            "max_overhead": None,
            "save_on_epochs": None,
            "use_tensorboard": False,
        }
        monitor = LightweightAttentionMonitor(folder / name, **options, **settings)
        arm = Arm(size, stack.enter_context(monitor))
        if attach:
            monitor.attach(arm.model)
        return arm

    return {
        "plain": Arm(size, None),
        "idle": watched("idle", False, save_frequency=NEVER),
        "idle, attached": watched("attached", True, save_frequency=NEVER),
        "due, own forward": watched("forward", True, save_frequency=1, capture="forward"),
        "due, probe": watched("probe", False, save_frequency=1, capture="probe"),
    }


def in_turns(arms: dict[str, Arm], rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    for arm in arms.values():
        for _ in range(3):  # the first captures count the layers
            arm.step()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    order = list(arms)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            seconds[name].append(arms[name].step())
    return {name: np.array(times) for name, times in seconds.items()}


def ratio(times: npt.NDArray[np.float64], plain: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """Returns the ratio of the medians, and the ends of its 95 % interval."""
    rng = np.random.default_rng(0)
    rounds = rng.integers(len(plain), size=(RESAMPLES, len(plain)))
    resampled = np.median(times[rounds], axis=1) / np.median(plain[rounds], axis=1)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return float(np.median(times) / np.median(plain)), float(low), float(high)


def seconds_of(call: Callable[[int], None]) -> float:
    start = time.process_time()
    for step in range(1, CALLS + 1):
        call(step)
    return (time.process_time() - start) / CALLS


def idle_call(arm: Arm) -> float:
    """Returns the seconds of one `log_attention` at a step that is not due."""
    monitor, inputs = arm.monitor, arm.size.inputs(0)
    assert monitor is not None
    return seconds_of(lambda step: monitor.log_attention(arm.model, inputs, step=step))


def measure(name: str, quick: bool) -> list[dict[str, Any]]:
    size = SIZES[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ways = arms(size, Path(folder), stack)
        times = in_turns(ways, size.rounds // 4 if quick else size.rounds)
        idle = {way: idle_call(ways[way]) for way in ways if way.startswith("idle")}
        accounts = {way: arm.monitor.close() for way, arm in ways.items() if arm.monitor}
    rows = []
    for way, seconds in times.items():
        mean, low, high = ratio(seconds, times["plain"])
        rows.append(
            {
                "model": name,
                "way": way,
                "step_ms": float(np.median(seconds)) * 1e3,
                "ratio": mean,
                "low": low,
                "high": high,
                "call_us": idle[way] * 1e6 if way in idle else None,
                "dropped": accounts[way]["dropped"] if way in accounts else 0,
            }
        )
    return rows


def line(row: dict[str, Any]) -> str:
    call = "" if row["call_us"] is None else f"   one call {row['call_us']:.2f} µs"
    dropped = f"   {row['dropped']} dropped" if row["dropped"] else ""
    return (
        f"{row['model']:8}{row['way']:18}{row['step_ms']:9.2f} ms{100 * row['ratio']:9.2f} %"
        f"   {100 * row['low']:7.2f} … {100 * row['high']:.2f}{call}{dropped}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    run_on_one_thread()
    random.seed(0)
    print(f"one thread, torch {torch.__version__}; processor time of the training process")
    print(f"{'model':8}{'step':18}{'median':>12}{'of plain':>11}   95 %")
    rows: list[dict[str, Any]] = []
    for name in SIZES:
        found = measure(name, options.quick)
        rows += found
        print("\n".join(map(line, found)), flush=True)
    if options.json:
        about = {"machine": platform.platform(), "torch": torch.__version__, "rows": rows}
        Path(options.json).write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
