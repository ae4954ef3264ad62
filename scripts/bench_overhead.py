"""What the monitor costs a training: against none, a thread pool, and drawing in the loop.

    python scripts/bench_overhead.py [--quick] [--json FILE] [--plot FILE]

All arms run in one process on one model, a block of steps each, in turns. Where captures are rare,
a block holds one, so that more of them are seen than in as many seconds of a real run; and it goes
on until all that was captured is drawn. Its time beyond that of as many steps without a monitor is
what a capture costs, drawing included; a ratio is that cost over the time of the steps from one
capture to the next, as configured. Ratios are geometric means over the blocks, with a bootstrap
interval of 95 %.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from monitoring_designs import CONFIGURATIONS, Attnmon, Configuration, InLoop, Nothing, ThreadPool
from overhead_report import HEADING, line, plot, without_pause_line
from without_pause import await_drawing, drawing_without_pause
from workloads import WORKLOADS, Training

ROUND = ("none", "attnmon", "thread_pool", "none", "in_loop", "attnmon", "none")
"""The order of blocks: attnmon and none have the same mean place, so that a drift cancels out."""
DESIGNS: dict[str, Callable[[Configuration, Path], Nothing]] = {
    "attnmon": Attnmon,
    "thread_pool": ThreadPool,
    "in_loop": InLoop,
}
CORES = os.cpu_count() or 1
THREADS = {"spare_core": max(1, CORES - 1), "saturated": CORES}
RUN_UP = 2
"""Steps at the start of a block that are not measured: the monitor finds its stride."""
QUICK_SECONDS = 30.0
"""A quick run begins no further row after that."""


@dataclass
class Block:
    """Some steps of one arm, and then as many as drawing still took."""

    steps: list[float] = field(default_factory=list)
    """Seconds of each, the monitor's call included."""
    idle_calls: list[float] = field(default_factory=list)
    """Seconds inside the monitor's call, at steps where it had nothing to do."""
    due: list[int] = field(default_factory=list)
    """Which of the steps were due."""
    cpu: float = 0.0
    """Processor time of the training process."""
    hook_seconds: float = 0.0
    """Time that the monitor says it took."""
    cut_short: bool = False
    """Drawing took longer than there was patience for; its cost is not all in here."""

    @property
    def seconds(self) -> float:
        return sum(self.steps)


@dataclass(frozen=True)
class Pace:
    """rounds: of blocks; length: of a block in steps; patience: seconds until all is drawn."""

    rounds: int
    length: int
    patience: float

    def block_of(self, every: int) -> int:
        """Steps of a block with whole intervals in it, or less than one."""
        return self.length // every * every or self.length


class Arm:
    """One design, the steps it was given, and the blocks it ran."""

    def __init__(self, training: Training, design: Nothing, every: int, pace: "Pace") -> None:
        self.blocks: list[Block] = []
        self.design = design
        self._training = training
        self._every = every
        self._length = pace.block_of(every)
        self._patience = pace.patience
        self._step = 0

    def run(self) -> Block:
        numbers = self._numbers()
        self.design.resume()
        for step in range(numbers[0] - RUN_UP, numbers[0]):
            self._make_step(Block(), step)
        await_drawing(self.design, self._patience)
        block = self._measured(numbers)
        self.design.pause()
        self.blocks.append(block)
        return block

    def _measured(self, numbers: range) -> Block:
        block = Block()
        cpu, spent = time.process_time(), self.design.hook_seconds()
        for step in numbers:
            self._make_step(block, step)
        give_up = time.perf_counter() + self._patience
        while self.design.waiting() and not block.cut_short:
            self._make_step(block, None)
            block.cut_short = time.perf_counter() > give_up
        block.cpu = time.process_time() - cpu
        block.hook_seconds = self.design.hook_seconds() - spent
        return block

    def _numbers(self) -> range:
        """Consecutive steps with as many captures as they should have; one, of rare captures."""
        self._step += max(self._length, self._every)
        return range(self._step - 1, self._step - 1 + self._length)

    def _make_step(self, block: Block, step: int | None) -> None:
        start = time.perf_counter()
        loss = self._training.step()
        if step is not None:
            training, called = self._training, time.perf_counter()
            self.design.log(training.model, training.enc, training.dec, step, loss)
            self._note_call(block, step, time.perf_counter() - called)
        block.steps.append(time.perf_counter() - start)

    def _note_call(self, block: Block, step: int, seconds: float) -> None:
        if step % self._every == 0:
            block.due.append(len(block.steps))
        elif (step + 1) % self._every:  # the step before a due one prepares for it
            block.idle_calls.append(seconds)


@dataclass
class Row:
    """One configuration's arms, run and evaluated."""

    configuration: Configuration
    arms: dict[str, Arm]
    renderer_seconds: float = 0.0
    accounts: dict[str, Any] = field(default_factory=dict)

    def run(self, rounds: int) -> None:
        for arm in self.arms.values():
            arm.run()  # the first capture counts the layers, and loads what draws
            arm.blocks.clear()
        monitor = self.arms["attnmon"].design
        assert isinstance(monitor, Attnmon)
        cpu = monitor.renderer_seconds()
        for name in ROUND * rounds:
            self.arms[name].run()
        self.accounts = monitor.accounts()
        self.renderer_seconds = monitor.renderer_seconds() - cpu

    @property
    def step_seconds(self) -> float:
        """Without a monitor."""
        blocks = self.arms["none"].blocks
        return sum(block.seconds for block in blocks) / sum(len(block.steps) for block in blocks)

    @property
    def captures(self) -> int:
        return sum(len(block.due) for block in self.arms["attnmon"].blocks)

    def accounted(self) -> float:
        """1 + the time inside our calls over that of the steps they belong to."""
        ours = self.arms["attnmon"].blocks
        idle = median([seconds for block in ours for seconds in block.idle_calls] or [0])
        spent = sum(block.hook_seconds for block in ours)
        each = spent / self.captures / self.configuration.every + idle
        return 1 + each / self.step_seconds

    def stepwise(self) -> float:
        """As `accounted`, by how much longer the due step and the one before it are than others."""
        longer = []
        for block in self.arms["attnmon"].blocks:
            touched = {index - before for index in block.due for before in (0, 1)}
            others = [s for index, s in enumerate(block.steps) if index not in touched]
            usual = median(others or [self.step_seconds])
            longer.append(sum(block.steps[i] - usual for i in touched if i >= 0) / len(block.due))
        return 1 + median(longer) / self.configuration.every / self.step_seconds

    def ratios(self, name: str) -> list[float]:
        """Of each block: time against no monitor, at the rate configured."""
        usual = [mean(block.steps) for block in self.arms["none"].blocks]
        nones = ROUND.count("none")
        each = len(self.arms[name].blocks) * nones // len(usual)
        found = []
        for index, block in enumerate(self.arms[name].blocks):
            first = index // each * nones
            step = mean(usual[first : first + nones])
            cost = (block.seconds - len(block.steps) * step) / len(block.due)
            found.append(1 + cost / (self.configuration.every * step))
        return found

    def cpu_ratio(self) -> float:
        """Processor time of the training process, as `ratios`."""
        none, ours = self.arms["none"].blocks, self.arms["attnmon"].blocks
        step = sum(b.cpu for b in none) / sum(len(b.steps) for b in none)
        cost = sum(b.cpu - len(b.steps) * step for b in ours) / self.captures
        return 1 + cost / (self.configuration.every * step)

    def worst_step(self, name: str) -> float:
        return max(seconds for block in self.arms[name].blocks for seconds in block.steps)

    def to_json(self) -> dict[str, Any]:
        ours = self.ratios("attnmon")
        low, high = bootstrap(ours)
        return {
            "configuration": self.configuration.name,
            "accounted": self.accounted(),
            "ab": geometric_mean(ours),
            "ab_low": low,
            "ab_high": high,
            "thread_pool_ab": geometric_mean(self.ratios("thread_pool")),
            "in_loop_ab": geometric_mean(self.ratios("in_loop")),
            "stepwise": self.stepwise(),
            "trainer_cpu": self.cpu_ratio(),
            "step_ms": 1e3 * self.step_seconds,
            "worst_step_ms": {name: 1e3 * self.worst_step(name) for name in self.arms},
            "renderer_cpu_ms": 1e3 * self.renderer_seconds / max(1, self.captures),
            "cut_short": sum(block.cut_short for arm in self.arms.values() for block in arm.blocks),
            **{name: self.accounts[name] for name in ("captured", "rendered", "dropped")},
        }


def geometric_mean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(np.maximum(ratios, 1e-3)))))


def bootstrap(ratios: Sequence[float], draws: int = 2000) -> tuple[float, float]:
    """The middle 95 % of the geometric means of samples drawn from these."""
    rng = np.random.default_rng(0)
    samples = rng.choice(np.log(np.maximum(ratios, 1e-3)), (draws, len(ratios)))
    low, high = np.exp(np.percentile(samples.mean(axis=1), [2.5, 97.5]))
    return float(low), float(high)


def measure(training: Training, chosen: Configuration, pace: Pace) -> dict[str, Any]:
    """One row."""
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        designs = {name: make(chosen, Path(folder, name)) for name, make in DESIGNS.items()}
        arms = {
            name: Arm(training, design, chosen.every, pace)
            for name, design in {"none": Nothing(), **designs}.items()
        }
        row = Row(chosen, arms)
        try:
            row.run(pace.rounds)
        finally:
            for design in designs.values():
                design.close()
        return row.to_json()


def measured(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    started = time.monotonic()
    for workload in options.workload:
        for regime in options.regime:
            torch.set_num_threads(THREADS[regime])
            training = Training(WORKLOADS[workload])
            for configuration in CONFIGURATIONS:
                if configuration.name in skipped(options, regime):
                    continue
                if options.quick and time.monotonic() - started > QUICK_SECONDS:
                    print(f"{configuration.name} {workload} {regime}: no time left for it")
                    continue
                row = measure(training, configuration, options.pace[workload])
                yield {**row, "workload": workload, "regime": regime}


def skipped(options: argparse.Namespace, regime: str) -> set[str]:
    """A quick look at a busy machine is at the configuration that draws most."""
    names = {configuration.name for configuration in CONFIGURATIONS}
    if options.only:
        return names - set(options.only)
    return names - {"everything_every_50"} if options.quick and regime == "saturated" else set()


def without_pause(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for regime in options.regime[:1] if options.quick else options.regime:
        if options.only:
            return
        torch.set_num_threads(THREADS[regime])
        training = Training(WORKLOADS["small"])
        seconds = 1.0 if options.quick else 15.0
        yield {"workload": "small", "regime": regime} | drawing_without_pause(training, seconds)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a rough look, within 50 seconds")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw them there")
    parser.add_argument(
        "--from", dest="earlier", metavar="FILE", type=Path, help="of an earlier run"
    )
    parser.add_argument("--rounds", type=int, help="of blocks; two of ours in each")
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="CONFIGURATION")
    parser.add_argument("--workload", nargs="+", choices=list(WORKLOADS))
    parser.add_argument("--regime", nargs="+", choices=list(THREADS), default=list(THREADS))
    options = parser.parse_args()
    rounds = options.rounds or (1 if options.quick else 6)
    options.workload = options.workload or (["small"] if options.quick else list(WORKLOADS))
    patience = 2.0 if options.quick else 60.0
    options.pace = {
        "small": Pace(rounds, 10 if options.quick else 30, patience),
        "large": Pace(rounds, 10, patience),
    }
    return options


def main() -> None:
    options = parsed()
    found = {"machine": f"{platform.platform()}, {CORES} cores, torch {torch.__version__}"}
    if options.earlier:
        found = json.loads(options.earlier.read_text())
    else:
        found |= run(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    if options.plot:
        plot(found, options.plot)


def run(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = defaultdict(list)
    print(HEADING)
    for row in measured(options):
        found["rows"].append(row)
        print(line(row), flush=True)
    for row in without_pause(options):
        found["without_pause"].append(row)
        print(without_pause_line(row), flush=True)
    return found


if __name__ == "__main__":
    main()
