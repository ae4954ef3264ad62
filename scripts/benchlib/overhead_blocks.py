"""Blocks of training steps in which a monitoring design takes its turn, and the time they take."""

import time
from dataclasses import dataclass, field

from benchlib.monitoring_designs import Nothing
from benchlib.without_pause import await_drawing
from benchlib.workloads import Training

RUN_UP = 2
"""Steps at the start of a block that are not measured: the monitor finds its stride."""


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


TURNS = ("none", "attnmon", "thread_pool", "none", "in_loop", "attnmon", "none")
"""The order of blocks: attnmon and none have the same mean place, so that a drift cancels out."""


@dataclass(frozen=True)
class Pace:
    """rounds: of turns; length: of a block in steps; patience: seconds until all is drawn."""

    rounds: int
    length: int
    patience: float
    turns: tuple[str, ...] = TURNS
    warmed_up: tuple[str, ...] = ("none", "attnmon", "attnmon", "thread_pool", "in_loop")
    """Blocks that are not counted: the first loads what draws; attnmon counts the model's layers at
    its first capture and describes them at its second, and a training makes thousands."""

    longest: int = 300
    """A block without a monitor is as long as the one of ours before it, drawing included, but no
    longer: where that takes hundreds of steps, a drift of some percent between them would be ours.
    """

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

    def run(self, at_least: int = 0) -> Block:
        """A block of so many steps at least."""
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
        self.design.pause()  # or it would look at the steps to come, which are nobody's
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
