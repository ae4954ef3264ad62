"""Measure what a capture costs a training, between real steps, beside what is accounted.

    python scripts/bench_due_step.py [--quick] [--clock processor] [--json FILE]

A capture costs what three things take longer than at a step that is not due: the call before it,
which arms the monitor; the forward that is watched; and the call that publishes it. Each figure is
the median over the captures of one training, with a 95 % bootstrap interval of the whole and of the
ratio; `fastest` is the tenth percentile. Real steps lie in between, so that nothing of the monitor
is in the processor's caches. `accounted` is what the monitor itself says. On a busy machine compare
processor time, which is that of one thread.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchlib.attention_block import AttentionBlock
from benchlib.one_thread import run_on_one_thread
from benchlib.workloads import SMALL, VOCABULARY, Translator
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor

CLOCKS = {"wall": time.perf_counter, "processor": time.thread_time}
EVERY = 8
WARM_UP = 4
"""Captures that are not counted: layers are found, described, and learnt where they are told."""
BATCH = 8
ALL = slice(None)
DRAWS = 500


class Block(AttentionBlock):
    """A block of a decoder."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = super().forward(hidden)
        wide: Tensor = self.narrow(F.gelu(self.wide(hidden)))
        return hidden + wide


class Decoder(nn.Module):
    """As many attentions as `Translator` has, in a decoder alone."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, SMALL.width)
        self.blocks = nn.Sequential(*(Block(SMALL.width, SMALL.heads) for _ in range(6)))
        self.head = nn.Linear(SMALL.width, VOCABULARY)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.embedding(target)))
        return logits


MODELS: dict[str, Callable[[], nn.Module]] = {
    "nn.Transformer": lambda: Translator(SMALL),
    "own decoder": Decoder,
}


class DueSteps:
    """One training with a monitor, and the seconds of its parts at each step."""

    def __init__(self, model: nn.Module, clock: Callable[[], float], folder: str) -> None:
        self.model, self._clock = model, clock
        self.monitor = LightweightAttentionMonitor(folder, EVERY, max_overhead=None)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        shape = BATCH, SMALL.length
        self._enc, self._dec = (torch.randint(VOCABULARY, shape) for _ in range(2))
        self.parts: dict[str, list[float]] = {
            name: [] for name in ("arming call", "due forward", "due call", "idle forward")
        }
        self.accounted: list[float] = []

    def run(self, captures: int) -> None:
        for capture in range(captures):
            spent = self.monitor._counters.hook_seconds
            for step in range(capture * EVERY + 1, (capture + 1) * EVERY + 1):
                forward, call = self._step(step)
                if step % EVERY == 0:
                    self._note(capture, {"due forward": forward, "due call": call})
                elif (step + 1) % EVERY == 0:
                    self._note(capture, {"idle forward": forward, "arming call": call})
            if capture >= WARM_UP:
                self.accounted.append(self.monitor._counters.hook_seconds - spent)

    def _step(self, step: int) -> tuple[float, float]:
        """Make one step; returns the seconds of the forward and of the monitor's call."""
        clock, start = self._clock, self._clock()
        logits = self.model(self._enc, self._dec)
        forward = clock() - start
        loss = F.cross_entropy(logits.flatten(0, 1), self._dec.flatten())
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()
        number = loss.item()
        start = clock()
        self.monitor.log_attention(self.model, self._enc, self._dec, step, number)
        return forward, clock() - start

    def _note(self, capture: int, seconds: dict[str, float]) -> None:
        for name, value in seconds.items() if capture >= WARM_UP else ():
            self.parts[name].append(value)

    def row(self, quantile: float = 0.5, of: "slice | np.ndarray" = ALL) -> dict[str, float]:
        """Returns the microseconds of each part, and of all that a capture costs.

        of: which captures, by their numbers.
        """
        seconds = {**self.parts, "accounted": self.accounted}
        row = {
            name: 1e6 * float(np.quantile(np.array(each)[of], quantile))
            for name, each in seconds.items()
        }
        row["watching"] = row.pop("due forward") - row["idle forward"]
        row["real"] = row["arming call"] + row["watching"] + row["due call"]
        row["ratio"] = row["accounted"] / row["real"]
        return row

    def intervals(self) -> dict[str, list[float]]:
        """Returns 95 % bootstrap intervals over the captures, of the whole and of the ratio."""
        rng, captures = np.random.default_rng(0), len(self.accounted)
        rows = [self.row(of=rng.integers(captures, size=captures)) for _ in range(DRAWS)]
        return {
            name: np.percentile([row[name] for row in rows], [2.5, 97.5]).tolist()
            for name in ("real", "ratio")
        }


def measure(name: str, captures: int, clock: Callable[[], float]) -> dict[str, Any]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        steps = DueSteps(MODELS[name](), clock, folder)
        steps.run(captures + WARM_UP)
        accounts = steps.monitor.close()
    counts = {key: accounts[key] for key in ("captured", "rendered", "dropped", "failed")}
    found = {**steps.row(), "fastest": steps.row(0.1), "intervals": steps.intervals()}
    return {"model": name, **found, **counts}


def line(row: dict[str, Any]) -> str:
    names = ("arming call", "watching", "due call", "accounted")
    figures = "".join(f"{row[name]:13.0f}" for name in names)
    (low, high), (least, most) = (row["intervals"][name] for name in ("real", "ratio"))
    return (
        f"{row['model']:16}{figures}   {row['real']:5.0f} ({low:.0f} … {high:.0f})"
        f"   {row['ratio']:.2f} ({least:.2f} … {most:.2f})"
        f"{row['fastest']['real']:9.0f}{row['idle forward'] / 1e3:10.2f} ms"
        + (f"   {row['dropped']} dropped" if row["dropped"] else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one capture")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--captures", type=int, default=100)
    parser.add_argument("--model", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    run_on_one_thread()
    print(f"µs a capture of 6 layers, {options.clock} time, torch {torch.__version__}")
    heading = ("arming call", "watching", "due call", "accounted")
    print(f"{'':16}" + "".join(f"{name:>13}" for name in heading), end="")
    print("   real (95 %)           accounted / real     fastest   forward")
    rows = []
    for name in options.model:
        rows.append(measure(name, 1 if options.quick else options.captures, CLOCKS[options.clock]))
        print(line(rows[-1]), flush=True)
    if options.json:
        about = {"machine": platform.platform(), "torch": torch.__version__, "rows": rows}
        Path(options.json).write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
