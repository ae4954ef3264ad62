"""Keeps the workers at the priority that suits the training, and finds out which that is."""

import time

from attnmon.link.channel import Packet
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import LeftOver
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.run_state import RunState
from attnmon_renderer.supervision.scheduling import priority
from attnmon_renderer.supervision.scheduling.competition import Supply
from attnmon_renderer.supervision.worker_pool import NewPool, WorkerPool

PROBE_SECONDS = 1.5
"""A probe that has not answered by then has found no core. On a free one it takes a third."""
START_SECONDS = 3.0
"""The most processor time that a worker's first capture takes at normal priority."""


class WorkerPriorities:
    """The priorities of the workers of one run.

    Each starts at the normal one, since its imports alone would take minutes otherwise. After its
    first capture it is lowered: to idle priority where a core is free, else to that of bursts.
    """

    def __init__(self, run: RunState, workers: WorkerPool, new_probes: NewPool) -> None:
        self._run = run
        self._competition = run.competition
        self._workers = workers
        # Not among the pools of the run: by the time its process id were read, it would be gone.
        self._probes = new_probes(self._probe_answered, lambda probe, how: None)
        self._probe_started = 0.0

    @property
    def is_probing(self) -> bool:
        """Whether a probe looks for a free core; what draws meanwhile would mislead it."""
        return any(probe.task is not None for probe in self._probes.children)

    @property
    def may_start(self) -> bool:
        """Whether another capture may be begun now: one at a time, unless a core is free."""
        if self._competition.supply is Supply.SPARE or self._run.end_state:
            return True
        return not self.is_probing and all(worker.task is None for worker in self._workers.children)

    def adjust(self, worker: Child) -> None:
        """Lower a worker that has finished a capture, and look for a free core if it is time."""
        self._lower(worker)
        if self._competition.wants_probe() and not self.is_probing and not self._run.end_state:
            self._start_probe()

    def review(self) -> list[Child]:
        """Return the workers that are to be replaced, since they get no processor time."""
        if self.is_probing and time.monotonic() - self._probe_started > PROBE_SECONDS:
            for probe in list(self._probes.children):
                self._probes.dismiss(probe)
            self._take_answer(0.0)
        for worker in self._workers.children:
            if worker.level == "normal" and worker.task_seconds() > START_SECONDS:
                self._lower_to_bursts(worker)
        idle = [worker for worker in self._workers.children if worker.level == "idle"]
        if not any(worker.is_starved() for worker in idle):
            return []
        self._competition.take_starvation()
        self._run.has_changed = True
        return idle

    def close(self) -> None:
        """End a probe that still runs."""
        for probe in list(self._probes.children):
            self._probes.dismiss(probe)

    def _start_probe(self) -> None:
        probe = self._probes.get_idle()
        if probe is not None:
            probe.assign(0)
            self._probe_started = time.monotonic()

    def _probe_answered(self, probe: Child, packet: Packet) -> None:
        answer = process_messages.decode(packet.data)
        assert isinstance(answer, LeftOver)
        probe.finish()
        self._take_answer(answer.share)

    def _take_answer(self, left_over: float) -> None:
        self._competition.take_answer(left_over)
        self._run.has_changed = True
        for worker in self._workers.children:
            self._lower(worker)

    def _lower(self, worker: Child) -> None:
        """Lower a worker that has finished its first capture as far as is right."""
        if not worker.completed:
            return
        if self._competition.supply is Supply.SPARE:
            if worker.level != "idle":
                priority.yield_to_training(worker.pid)
                worker.level = "idle"
        else:
            self._lower_to_bursts(worker)

    def _lower_to_bursts(self, worker: Child) -> None:
        if worker.level == "normal":
            priority.lower_to_bursts(worker.pid)
            worker.level = "bursts"
