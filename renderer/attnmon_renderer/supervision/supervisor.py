"""The renderer's first process: takes captures in, hands them out, acknowledges, keeps accounts.

It loads the standard library and msgpack only, draws nothing and writes nothing, so that nothing
a picture or a disk can do will stop it. It ends when the training process has closed the channel,
or died, and everything that was announced is recorded.
"""

import contextlib
import os
import selectors
import time
from dataclasses import replace

from attnmon.link.channel import Channel, ChannelClosed, Packet
from attnmon.link.messages import Acknowledgement, Setup
from attnmon.link.ring import map_read_only
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import (
    LONGEST_ERROR,
    Drawn,
    ProcessMessage,
    ResultsWritten,
    RunStatus,
    WriteResults,
)
from attnmon_renderer.storage import atomic_files
from attnmon_renderer.supervision import priority
from attnmon_renderer.supervision.child_process import Child
from attnmon_renderer.supervision.ledger import TRIES, Entry, Ledger
from attnmon_renderer.supervision.receiver import Receiver, receive_setup
from attnmon_renderer.supervision.worker_pool import FRUITLESS_DEATHS, WorkerPool
from attnmon_renderer.supervision.write_lock import WriteLock

TICK_SECONDS = 2.0
"""How often a child that is at work is looked at; with nobody at work nothing wakes up."""
FULL_SECONDS = 0.1
"""How soon to try again when the training process has not read what it was told before."""
FAREWELL_SECONDS = 30.0


def serve(descriptor: int) -> None:
    """Be the renderer of the training process at the other end of this socket, to the end."""
    priority.ignore_signals()
    priority.yield_to_training()
    channel = Channel.from_descriptor(descriptor)
    try:
        setup, ring, turn = receive_setup(channel)
    except ChannelClosed:
        return
    priority.keep_to(setup.cpus)
    Supervisor(channel, setup, ring, turn).run()


class Supervisor:
    """One training process's renderer: its channel, its ledger, its workers and its recorder.

    In a standalone renderer, `above` leads to the process that serves all: it is told how the run
    stands, and its end means that no more is to be taken in.
    """

    def __init__(
        self,
        channel: Channel,
        setup: Setup,
        ring: int,
        turn: WriteLock,
        above: Channel | None = None,
    ) -> None:
        self._setup = setup
        self._worker_setup = setup
        self._turn = turn
        self._ledger = Ledger()
        self._reported: RunStatus | None = None
        self._selector = selectors.DefaultSelector()
        self._receiver = Receiver(channel, setup, self._ledger, self._selector)
        self._above = above
        if above is not None:
            self._selector.register(above, selectors.EVENT_READ, self._stop)

        def work(own: Channel) -> None:
            from attnmon_renderer.worker import work

            work(own, self._worker_setup, map_read_only(ring, setup.ring_bytes))

        def record(own: Channel) -> None:
            from attnmon_renderer.recorder import record

            record(own, setup, lambda: map_read_only(ring, setup.ring_bytes))

        self._workers = WorkerPool(
            "worker", setup.workers, work, {ring, *turn.descriptors}, self._selector,
            self._drawn, self._worker_lost,
        )  # fmt: skip
        self._recorders = WorkerPool(
            "recorder", 1, record, {ring, *turn.descriptors}, self._selector,
            self._recorded, self._recorder_lost,
        )  # fmt: skip

    def run(self) -> None:
        """Until the training process is gone and all it announced is settled."""
        while True:
            if self._turn.has_come():
                self._hand_out()
                self._record()
            self._receiver.say()
            self._report()
            if self._receiver.outcome and self._turn.has_come() and self._all_is_settled():
                break
            for key, _ in self._selector.select(self._patience()):
                key.data()
            self._workers.kill_hanging()
            self._recorders.kill_hanging()
        self._part()

    def _patience(self) -> float | None:
        """With nothing to do, nothing wakes the renderer but a message."""
        if self._receiver.owes_an_answer:
            return FULL_SECONDS
        return TICK_SECONDS if len(self._ledger) or not self._turn.has_come() else None

    def _all_is_settled(self) -> bool:
        return not len(self._ledger) and not self._receiver.owes_an_answer

    # The standalone renderer

    def _report(self) -> None:
        """Tell it how the run stands; what does not fit is made up for by the next report."""
        if self._above is not None:
            standing = replace(self._standing(), state=self._receiver.outcome or "running")
            if standing != self._reported:
                self._reported = standing
                tell_above(self._above, standing)

    def _stop(self) -> None:
        """It ends: finish what was announced, and take in no more."""
        assert self._above is not None
        self._selector.unregister(self._above)
        self._receiver.stop("attnmon-renderer was stopped")

    # Drawing

    def _hand_out(self) -> None:
        while (entry := self._ledger.next_to_draw()) is not None:
            worker = self._workers.idle()
            if worker is not None:
                self._ledger.start(entry)
                worker.give(entry.sequence, entry.weight_count)
                self._workers.tell(worker, entry.packed)
            elif self._workers.exhausted:
                self._ledger.fail(entry, "the workers die again and again; drawing has stopped")
            else:
                return

    def _drawn(self, worker: Child, packet: Packet) -> None:
        drawn = process_messages.decode(packet.data)
        assert isinstance(drawn, Drawn)
        entry = self._ledger[drawn.sequence]
        entry.error, entry.notices = drawn.error, drawn.notices
        entry.results = packet.descriptors[0] if packet.descriptors else -1
        if not entry.error and entry.results < 0:
            entry.error = "the results were lost on the way: no descriptor was left for them"
        entry.move("drawn")
        worker.finish()

    def _worker_lost(self, worker: Child | None, how: str) -> None:
        self._receiver.has_news = True
        if worker is None:
            self._receiver.errors.append(how[:LONGEST_ERROR])
        elif worker.task is not None:
            entry = self._ledger[worker.task]
            self._ledger.lose(entry, how)
            if entry.error:
                _keep_for_a_report(entry)

    # Recording

    def _record(self) -> None:
        recorder = self._recorders.idle()
        if recorder is None:
            self._settle_unrecorded()
        elif (entry := self._ledger.next_to_record()) is not None:
            self._ledger.record(entry)
            recorder.give(entry.sequence)
            standing = self._standing_after(entry)
            record = WriteResults(standing, entry.sequence, entry.error, set_aside=entry.spoiled)
            results = (entry.results,) if entry.results >= 0 else ()
            self._recorders.tell(recorder, process_messages.encode(record), results)
        elif self._receiver.has_news:
            self._recorders.tell(recorder, process_messages.encode(WriteResults(self._standing())))
            self._receiver.has_news = False

    def _settle_unrecorded(self) -> None:
        while self._recorders.exhausted and (entry := self._ledger.next_to_record()) is not None:
            self._settle(entry, "the recorder dies again and again; nothing is written")

    def _recorded(self, recorder: Child, packet: Packet) -> None:
        recorded = process_messages.decode(packet.data)
        assert isinstance(recorded, ResultsWritten)
        recorder.finish()
        entry = self._ledger[recorded.sequence]
        entry.notices += recorded.notices
        self._settle(entry, recorded.error)
        if recorded.disk_is_full:
            self._draw_no_more()

    def _draw_no_more(self) -> None:
        """Numbers only from now on."""
        options = self._worker_setup.options
        if options.pictures or options.raw_weights:
            numbers_only = replace(options, pictures=(), raw_weights=False)
            self._worker_setup = replace(self._setup, options=numbers_only)
            self._workers.renew()

    def _recorder_lost(self, recorder: Child | None, how: str) -> None:
        self._receiver.has_news = True
        if recorder is None:
            self._receiver.errors.append(how[:LONGEST_ERROR])
        elif recorder.task is not None:
            entry = self._ledger[recorder.task]
            entry.move("lose")
            if entry.recordings >= TRIES:
                self._settle(entry, f"{how}, {entry.recordings} times")

    def _settle(self, entry: Entry, error: str) -> None:
        self._ledger.settle(entry, error)
        if entry.results >= 0:
            os.close(entry.results)
        if entry.error:
            self._receiver.errors.append(_in_words(entry))
            self._receiver.has_news = True
        self._receiver.acknowledge(Acknowledgement(entry.sequence, entry.error, entry.notices))

    def _standing(self) -> RunStatus:
        members = self._workers.members + self._recorders.members
        return RunStatus(
            trainer=self._receiver.accounts,
            rendered=self._ledger.rendered,
            failed=self._ledger.failed,
            state="finishing" if self._receiver.outcome else "running",
            pids=(os.getpid(), *(child.pid for child in members)),
            errors=tuple(self._receiver.errors),
            kept=len(self._receiver.window),
            dumps=tuple(self._receiver.window.dumps),
        )

    def _standing_after(self, entry: Entry) -> RunStatus:
        """How the run stands once this capture is recorded: the summary must not lag behind."""
        standing = self._standing()
        if not entry.error:
            return replace(standing, rendered=standing.rendered + 1)
        errors = (*standing.errors, _in_words(entry))
        return replace(standing, failed=standing.failed + 1, errors=errors)

    # The end

    def _part(self) -> None:
        """Let the recorder write how it all ended, then let the children go."""
        for worker in self._workers.members:
            worker.kill()  # idle: everything is drawn
            worker.bury()
        self._workers.members.clear()
        self._recorders.pardon()  # also after a crash loop, the accounts should be told
        for _ in range(FRUITLESS_DEATHS):
            recorder = self._recorders.idle()
            if recorder is None or self._dismiss(recorder):
                break
        self._turn.pass_on()

    def _dismiss(self, recorder: Child) -> bool:
        """Let it write the last summary and end; whether it did."""
        last = replace(self._standing(), state=self._receiver.outcome, pids=())
        orphans = (*self._workers.lost, *self._recorders.lost)
        self._recorders.tell(recorder, process_messages.encode(WriteResults(last, orphans=orphans)))
        recorder.channel.end_sending()
        _wait_for_end(recorder.channel)
        self._recorders.members.remove(recorder)
        recorder.bury()
        return recorder.exit_code == 0


def tell_above(above: Channel, news: ProcessMessage) -> None:
    """Send to the standalone renderer; if it is gone, its end is heard elsewhere."""
    with contextlib.suppress(ChannelClosed):
        above.send(process_messages.encode(news))


def _keep_for_a_report(entry: Entry) -> None:
    """Its slots stay lent until it is acknowledged, so the message is all that is to be kept."""
    with contextlib.suppress(OSError):
        entry.results = atomic_files.anonymous(lambda file: file.write(entry.packed))
        entry.spoiled = True


def _in_words(entry: Entry) -> str:
    return f"capture {entry.sequence}: {entry.error[:LONGEST_ERROR]}"


def _wait_for_end(channel: Channel) -> None:
    deadline = time.monotonic() + FAREWELL_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        try:
            while (left := deadline - time.monotonic()) > 0:
                selector.select(left)
                channel.receive()
        except ChannelClosed:
            pass
