"""Measures one configuration: runs its arms in turns and computes the cost from their blocks."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchlib.monitoring_designs import Attnmon, InLoop, NoMonitor, ThreadPool
from benchlib.overhead_blocks import Arm, Pace
from benchlib.plain_drawing import Configuration
from benchlib.ratios import bootstrap, geometric_mean
from benchlib.workloads import Training

DESIGNS: dict[str, Callable[[Configuration, Path], NoMonitor]] = {
    "attnmon": Attnmon,
    "thread_pool": ThreadPool,
    "in_loop": InLoop,
}


@dataclass
class Row:
    """The arms of one configuration, and the figures computed from them."""

    configuration: Configuration
    arms: dict[str, Arm]
    pace: Pace
    renderer_seconds: float = 0.0
    accounts: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        for name in self.pace.warmed_up:
            self.arms[name].run()
            self.arms[name].blocks.clear()
        monitor = self.arms["attnmon"].design
        assert isinstance(monitor, Attnmon)
        cpu = monitor.renderer_seconds()
        at_least = 0
        for name in self.pace.turns * self.pace.rounds:
            if name == "none":
                self.arms[name].run(at_least)
                at_least = 0
                continue
            block = self.arms[name].run()
            if name == "attnmon":
                at_least = min(len(block.steps), self.pace.longest)
        self.accounts = monitor.accounts()
        self.renderer_seconds = monitor.renderer_seconds() - cpu

    @property
    def step_seconds(self) -> float:
        """Mean seconds of a step without a monitor."""
        blocks = self.arms["none"].blocks
        return sum(block.seconds for block in blocks) / sum(len(block.steps) for block in blocks)

    @property
    def captures(self) -> int:
        return sum(len(block.due) for block in self.arms["attnmon"].blocks)

    def accounted(self) -> float:
        """Returns 1 + the time inside attnmon's calls over the time of the steps they belong to."""
        each = self.accounted_seconds() / self.configuration.every + self._idle_seconds()
        return 1 + each / self.step_seconds

    def _idle_seconds(self) -> float:
        """Returns the seconds of a call with nothing to do, less those of timing an empty call."""
        ours, none = (
            median([call for block in self.arms[name].blocks for call in block.idle_calls] or [0])
            for name in ("attnmon", "none")
        )
        return max(0.0, ours - none)

    def stepwise(self) -> float:
        """Returns the same as `accounted`, from how much longer due steps are than others."""
        return 1 + self.real_seconds() / self.configuration.every / self.step_seconds

    def accounted_seconds(self) -> float:
        """Returns what the monitor says that a capture costs the training."""
        spent = sum(block.hook_seconds for block in self.arms["attnmon"].blocks)
        return spent / self.captures

    def real_seconds(self) -> float:
        """Returns how much longer the steps of a capture are than others: the due one and that
        before it."""
        longer = []
        for block in self.arms["attnmon"].blocks:
            touched = {index - before for index in block.due for before in (0, 1)}
            others = [s for index, s in enumerate(block.steps) if index not in touched]
            usual = median(others or [self.step_seconds])
            longer.append(sum(block.steps[i] - usual for i in touched if i >= 0) / len(block.due))
        return median(longer)

    def ratios(self, name: str) -> list[float]:
        """Returns for each block its time over that without a monitor, at the configured rate."""
        usual = [mean(block.steps) for block in self.arms["none"].blocks]
        nones = self.pace.turns.count("none")
        each = len(self.arms[name].blocks) * nones // len(usual)
        found = []
        for index, block in enumerate(self.arms[name].blocks):
            first = index // each * nones
            step = mean(usual[first : first + nones])
            cost = (block.seconds - len(block.steps) * step) / len(block.due)
            found.append(1 + cost / (self.configuration.every * step))
        return found

    def cpu_ratio(self) -> float:
        """Returns the ratio of the training process's processor time, as `ratios` does of time."""
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
            "accounted_us": 1e6 * self.accounted_seconds(),
            "real_us": 1e6 * self.real_seconds(),
            "trainer_cpu": self.cpu_ratio(),
            "step_ms": 1e3 * self.step_seconds,
            "worst_step_ms": {name: 1e3 * self.worst_step(name) for name in self.arms},
            "renderer_cpu_ms": 1e3 * self.renderer_seconds / max(1, self.captures),
            "cut_short": sum(block.cut_short for arm in self.arms.values() for block in arm.blocks),
            **{name: self.accounts[name] for name in ("captured", "rendered", "dropped")},
        }


def measure(training: Training, chosen: Configuration, pace: Pace) -> dict[str, Any]:
    """Returns one row of the results."""
    with tempfile.TemporaryDirectory(prefix="attnmon-bench-") as folder:
        designs = {name: make(chosen, Path(folder, name)) for name, make in DESIGNS.items()}
        arms = {
            name: Arm(training, design, chosen.every, pace)
            for name, design in {"none": NoMonitor(), **designs}.items()
        }
        row = Row(chosen, arms, pace)
        try:
            row.run()
        finally:
            for design in designs.values():
                design.close()
        return row.to_json()
