"""The drawing stage: hands captures to workers, and retries those whose worker died."""

import contextlib
from dataclasses import replace

from attnmon.link import descriptors
from attnmon.link.channel import Packet
from attnmon.link.records.run_setup import Setup
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import LONGEST_ERROR, Drawn
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.ledger import Entry
from attnmon_renderer.supervision.run_state import RunState
from attnmon_renderer.supervision.worker_pool import NewPool
from attnmon_renderer.supervision.worker_priorities import WorkerPriorities


class DrawingStage:
    """The workers, and the captures that wait for them."""

    def __init__(
        self, run: RunState, setup: Setup, new_workers: NewPool, new_probes: NewPool
    ) -> None:
        self.setup = setup
        """What new workers are to do."""
        self.pool = new_workers(self._drawn, self._worker_lost)
        self.priorities = WorkerPriorities(run, self.pool, new_probes)
        self._run = run
        run.pools.append(self.pool)

    def hand_out(self) -> None:
        """Give a waiting capture to each worker that is free and may run now."""
        ledger = self._run.ledger
        while self.priorities.may_start and (entry := ledger.next_to_draw()) is not None:
            worker = self.pool.get_idle()
            if worker is not None:
                ledger.start_drawing(entry)
                worker.assign(entry.sequence, entry.weight_count)
                self.pool.send(worker, entry.packed)
            elif self.pool.exhausted:
                error = "the workers die again and again; drawing has stopped"
                ledger.fail(entry, error)
            else:
                return

    def draw_no_more_pictures(self) -> None:
        """Have workers compute statistics only, from their next capture on."""
        options = self.setup.options
        if options.pictures or options.raw_weights or options.maps:
            numbers_only = replace(options, pictures=(), raw_weights=False, maps=None)
            self.setup = replace(self.setup, options=numbers_only)
            self.pool.replace_all()

    def review_priorities(self) -> None:
        """Have other workers draw what those at idle priority hardly get on with."""
        for worker in self.priorities.review():
            if worker.task is not None:
                self._run.ledger.take_back(self._run.ledger[worker.task])
            self.pool.recall(worker)

    def close(self) -> None:
        """Kill the workers, which have nothing left to draw."""
        self.priorities.close()
        for worker in list(self.pool.children):
            self.pool.dismiss(worker)

    def _drawn(self, worker: Child, packet: Packet) -> None:
        drawn = process_messages.decode(packet.data)
        assert isinstance(drawn, Drawn)
        entry = self._run.ledger[drawn.sequence]
        entry.error, entry.notices = drawn.error, drawn.notices
        entry.verdicts = drawn.verdicts
        entry.descriptor = packet.descriptors[0] if packet.descriptors else -1
        if not entry.error and entry.descriptor < 0:
            entry.error = "the results were lost on the way: no descriptor was left for them"
        entry.transition("drawn")
        if not drawn.error:
            self._run.add_drawn(entry, has_pictures=bool(self.setup.options.pictures))
        if worker.completed:  # the first capture of a worker is part of its start
            entry.seconds += drawn.seconds
        worker.finish()
        self.priorities.adjust(worker)

    def _worker_lost(self, worker: Child | None, how: str) -> None:
        self._run.has_changed = True
        if worker is None:
            self._run.add_error(how[:LONGEST_ERROR])
        elif worker.task is not None:
            entry = self._run.ledger[worker.task]
            self._run.ledger.retry_or_fail(entry, how)
            if entry.error:
                _attach_message(entry)


def _attach_message(entry: Entry) -> None:
    """Have the recorder save the capture's data, for a bug report.

    The message is enough: its slots stay untouched until it is acknowledged.
    """
    with contextlib.suppress(OSError):
        entry.descriptor = descriptors.make_nameless_file(lambda file: file.write(entry.packed))
        entry.holds_message = True
