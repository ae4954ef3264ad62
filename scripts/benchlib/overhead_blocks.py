"""Runs blocks of training steps, each with one monitoring design, and measures their time."""

import time
from dataclasses import dataclass, field

from benchlib.monitoring_designs import NoMonitor
from benchlib.without_pause import await_drawing
from benchlib.workloads import Training

RUN_UP = 2
"""Unmeasured steps at the start of a block, in which the monitor learns the stride."""


@dataclass
class Block:
    """Measurements of some steps of one arm, and of further steps until all is drawn."""

    steps: list[float] = field(default_factory=list)
    """Seconds of each step, with the monitor's call."""
    idle_calls: list[float] = field(default_factory=list)
    """Seconds of the monitor's call at steps where it had nothing to do."""
    due: list[int] = field(default_factory=list)
    """Indices of the steps that were due."""
    cpu: float = 0.0
    """Processor seconds of the training process."""
    hook_seconds: float = 0.0
    """Seconds that the monitor says it took."""
    cut_short: bool = False
    """True if drawing took longer than `Pace.patience`; its cost is then incomplete."""

    @property
    def seconds(self) -> float:
        return sum(self.steps)


TURNS = ("none", "attnmon", "thread_pool", "none", "in_loop", "attnmon", "none")
"""Order of the blocks: attnmon and none have the same mean position, so a drift cancels out."""


@dataclass(frozen=True)
class Pace:
    """How many blocks are run, and how long they are."""

    rounds: int
    """How often all turns are run."""
    length: int
    """Steps of a block, without those that wait for drawing."""
    patience: float
    """Seconds that a block waits for drawing."""
    turns: tuple[str, ...] = TURNS
    """Names of the arms, in the order of their blocks."""
    warmed_up: tuple[str, ...] = ("none", *("attnmon",) * 4, "thread_pool", "in_loop")
    """Blocks that are run first and not counted. The first loads what draws; attnmon counts the
    model's layers at its first capture, describes them at its second, and learns where they are
    told in the two after that."""

    longest: int = 300
    """Most steps of a block without a monitor, which is otherwise as long as attnmon's block before
    it. Over hundreds of steps a drift of some percent would count as attnmon's cost."""

    def block_of(self, every: int) -> int:
        """Returns the steps of a block: whole intervals, or less than one."""
        return self.length // every * every or self.length


class Arm:
    """One design with the blocks that were run with it."""

    def __init__(self, training: Training, design: NoMonitor, every: int, pace: "Pace") -> None:
        self.blocks: list[Block] = []
        self.design = design
        self._training = training
        self._every = every
        self._length = pace.block_of(every)
        self._patience = pace.patience
        self._step = 0

    def run(self, at_least: int = 0) -> Block:
        """Run a block of at least so many steps, until all is drawn."""
        numbers = self._numbers()
        self.design.resume()
        for step in range(numbers[0] - RUN_UP, numbers[0]):
            self._make_step(Block(), step)
        await_drawing(self.design, self._patience)
        block = self._measured(numbers, at_least)
        self.blocks.append(block)
        return block

    def _measured(self, numbers: range, at_least: int) -> Block:
        block = Block()
        cpu, spent = time.process_time(), self.design.hook_seconds()
        for step in numbers:
            self._make_step(block, step)
        self.design.pause()  # or it would capture from the steps that follow
        give_up = time.perf_counter() + self._patience
        while len(block.steps) < at_least:
            self._make_step(block, None)
        while self.design.waiting() and not block.cut_short:
            self._make_step(block, None)
            block.cut_short = time.perf_counter() > give_up
        block.cpu = time.process_time() - cpu
        block.hook_seconds = self.design.hook_seconds() - spent
        return block

    def _numbers(self) -> range:
        """Returns consecutive steps, with one capture if captures are rare."""
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
