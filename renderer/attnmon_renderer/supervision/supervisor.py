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
from attnmon_renderer.supervision.ledger import MOST_TRIES, Entry, Ledger
from attnmon_renderer.supervision.receiver import Receiver, receive_setup
from attnmon_renderer.supervision.worker_pool import MOST_DEATHS_IN_A_ROW, WorkerPool
from attnmon_renderer.supervision.write_lock import WriteLock

TICK_SECONDS = 2.0
"""How often a child that is at work is looked at; with nobody at work nothing wakes up."""
RESEND_SECONDS = 0.1
"""How soon to try again when the training process has not read what it was told before."""
LAST_SUMMARY_SECONDS = 30.0


def serve(descriptor: int) -> None:
    """Be the renderer of the training process at the other end of this socket, to the end."""
    priority.ignore_signals()
    priority.yield_to_training()
    channel = Channel.from_descriptor(descriptor)
    try:
        setup, ring, write_lock = receive_setup(channel)
    except ChannelClosed:
        return
    priority.set_affinity(setup.cpus)
    Supervisor(channel, setup, ring, write_lock).run()


class Supervisor:
    """One training process's renderer: its channel, its ledger, its workers and its recorder.

    In a standalone renderer, `server` leads to the process that serves all: it is told how the run
    stands, and its end means that no more is to be taken in.
    """

    def __init__(
        self,
        channel: Channel,
        setup: Setup,
        ring: int,
        write_lock: WriteLock,
        server: Channel | None = None,
    ) -> None:
        self._setup = setup
        self._worker_setup = setup
        self._write_lock = write_lock
        self._ledger = Ledger()
        self._reported: RunStatus | None = None
        self._selector = selectors.DefaultSelector()
        self._receiver = Receiver(channel, setup, self._ledger, self._selector)
        self._server = server
        if server is not None:
            self._selector.register(server, selectors.EVENT_READ, self._stop)

        def run_worker(own: Channel) -> None:
            from attnmon_renderer.worker import run_worker

            run_worker(own, self._worker_setup, map_read_only(ring, setup.ring_bytes))

        def run_recorder(own: Channel) -> None:
            from attnmon_renderer.recorder import run_recorder

            run_recorder(own, setup, lambda: map_read_only(ring, setup.ring_bytes))

        self._workers = WorkerPool(
            "worker", setup.workers, run_worker, {ring, *write_lock.descriptors}, self._selector,
            self._drawn, self._worker_lost,
        )  # fmt: skip
        self._recorders = WorkerPool(
            "recorder", 1, run_recorder, {ring, *write_lock.descriptors}, self._selector,
            self._recorded, self._recorder_lost,
        )  # fmt: skip

    def run(self) -> None:
        """Until the training process is gone and all it announced is settled."""
        while True:
            if self._write_lock.try_acquire():
                self._hand_out()
                self._record()
            self._receiver.send_outgoing()
            self._report()
            if self._receiver.end_state and self._write_lock.try_acquire() and self._is_done():
                break
            for key, _ in self._selector.select(self._timeout()):
                key.data()
            self._workers.kill_hung()
            self._recorders.kill_hung()
        self._shut_down()

    def _timeout(self) -> float | None:
        """With nothing to do, nothing wakes the renderer but a message."""
        if self._receiver.has_unsent:
            return RESEND_SECONDS
        return TICK_SECONDS if len(self._ledger) or not self._write_lock.try_acquire() else None

    def _is_done(self) -> bool:
        return not len(self._ledger) and not self._receiver.has_unsent

    # The standalone renderer

    def _report(self) -> None:
        """Tell it how the run stands; what does not fit is made up for by the next report."""
        if self._server is not None:
            status = replace(self._status(), state=self._receiver.end_state or "running")
            if status != self._reported:
                self._reported = status
                report_to_server(self._server, status)

    def _stop(self) -> None:
        """It ends: finish what was announced, and take in no more."""
        assert self._server is not None
        self._selector.unregister(self._server)
        self._receiver.stop("attnmon-renderer was stopped")

    # Drawing

    def _hand_out(self) -> None:
        while (entry := self._ledger.next_to_draw()) is not None:
            worker = self._workers.get_idle()
            if worker is not None:
                self._ledger.start(entry)
                worker.assign(entry.sequence, entry.weight_count)
                self._workers.send(worker, entry.packed)
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
        self._receiver.status_changed = True
        if worker is None:
            self._receiver.errors.append(how[:LONGEST_ERROR])
        elif worker.task is not None:
            entry = self._ledger[worker.task]
            self._ledger.lose(entry, how)
            if entry.error:
                _attach_message(entry)

    # Recording

    def _record(self) -> None:
        recorder = self._recorders.get_idle()
        if recorder is None:
            self._finish_unrecorded()
        elif (entry := self._ledger.next_to_record()) is not None:
            self._ledger.record(entry)
            recorder.assign(entry.sequence)
            status = self._status_after(entry)
            record = WriteResults(
                status, entry.sequence, entry.error, save_capture=entry.holds_message
            )
            results = (entry.results,) if entry.results >= 0 else ()
            self._recorders.send(recorder, process_messages.encode(record), results)
        elif self._receiver.status_changed:
            self._recorders.send(recorder, process_messages.encode(WriteResults(self._status())))
            self._receiver.status_changed = False

    def _finish_unrecorded(self) -> None:
        while self._recorders.exhausted and (entry := self._ledger.next_to_record()) is not None:
            self._finish_entry(entry, "the recorder dies again and again; nothing is written")

    def _recorded(self, recorder: Child, packet: Packet) -> None:
        recorded = process_messages.decode(packet.data)
        assert isinstance(recorded, ResultsWritten)
        recorder.finish()
        entry = self._ledger[recorded.sequence]
        entry.notices += recorded.notices
        self._finish_entry(entry, recorded.error)
        if recorded.disk_is_full:
            self._stop_drawing()

    def _stop_drawing(self) -> None:
        """Numbers only from now on."""
        options = self._worker_setup.options
        if options.pictures or options.raw_weights:
            numbers_only = replace(options, pictures=(), raw_weights=False)
            self._worker_setup = replace(self._setup, options=numbers_only)
            self._workers.replace_all()

    def _recorder_lost(self, recorder: Child | None, how: str) -> None:
        self._receiver.status_changed = True
        if recorder is None:
            self._receiver.errors.append(how[:LONGEST_ERROR])
        elif recorder.task is not None:
            entry = self._ledger[recorder.task]
            entry.move("lose")
            if entry.recordings >= MOST_TRIES:
                self._finish_entry(entry, f"{how}, {entry.recordings} times")

    def _finish_entry(self, entry: Entry, error: str) -> None:
        self._ledger.settle(entry, error)
        if entry.results >= 0:
            os.close(entry.results)
        if entry.error:
            self._receiver.errors.append(_describe(entry))
            self._receiver.status_changed = True
        self._receiver.acknowledge(Acknowledgement(entry.sequence, entry.error, entry.notices))

    def _status(self) -> RunStatus:
        members = self._workers.children + self._recorders.children
        return RunStatus(
            trainer=self._receiver.accounts,
            rendered=self._ledger.rendered,
            failed=self._ledger.failed,
            state="finishing" if self._receiver.end_state else "running",
            pids=(os.getpid(), *(child.pid for child in members)),
            errors=tuple(self._receiver.errors),
            retained=len(self._receiver.retained),
            dumps=tuple(self._receiver.retained.dumps),
        )

    def _status_after(self, entry: Entry) -> RunStatus:
        """How the run stands once this capture is recorded: the summary must not lag behind."""
        status = self._status()
        if not entry.error:
            return replace(status, rendered=status.rendered + 1)
        errors = (*status.errors, _describe(entry))
        return replace(status, failed=status.failed + 1, errors=errors)

    # The end

    def _shut_down(self) -> None:
        """Let the recorder write how it all ended, then let the children go."""
        for worker in self._workers.children:
            worker.kill()  # idle: everything is drawn
            worker.reap()
        self._workers.children.clear()
        self._recorders.reset_deaths()  # also after a crash loop, the accounts should be told
        for _ in range(MOST_DEATHS_IN_A_ROW):
            recorder = self._recorders.get_idle()
            if recorder is None or self._write_last_summary(recorder):
                break
        self._write_lock.release()

    def _write_last_summary(self, recorder: Child) -> bool:
        """Let it write the last summary and end; whether it did."""
        last = replace(self._status(), state=self._receiver.end_state, pids=())
        dead_writers = (*self._workers.lost_pids, *self._recorders.lost_pids)
        self._recorders.send(
            recorder, process_messages.encode(WriteResults(last, dead_writers=dead_writers))
        )
        recorder.channel.end_sending()
        _wait_until_closed(recorder.channel)
        self._recorders.children.remove(recorder)
        recorder.reap()
        return recorder.exit_code == 0


def report_to_server(server: Channel, news: ProcessMessage) -> None:
    """Send to the standalone renderer; if it is gone, its end is heard elsewhere."""
    with contextlib.suppress(ChannelClosed):
        server.send(process_messages.encode(news))


def _attach_message(entry: Entry) -> None:
    """Its slots stay lent until it is acknowledged, so the message is all that is to be kept."""
    with contextlib.suppress(OSError):
        entry.results = atomic_files.anonymous_file(lambda file: file.write(entry.packed))
        entry.holds_message = True


def _describe(entry: Entry) -> str:
    return f"capture {entry.sequence}: {entry.error[:LONGEST_ERROR]}"


def _wait_until_closed(channel: Channel) -> None:
    deadline = time.monotonic() + LAST_SUMMARY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        try:
            while (left := deadline - time.monotonic()) > 0:
                selector.select(left)
                channel.receive()
        except ChannelClosed:
            pass
