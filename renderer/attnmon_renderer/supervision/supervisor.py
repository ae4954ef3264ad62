"""The supervisor: the renderer's first process, which receives captures and runs the others.

It loads the standard library and msgpack only, draws nothing and writes nothing, so that nothing
a picture or a disk can do will stop it. It ends when the training process has closed the channel,
or died, and everything that was announced is settled.
"""

import contextlib
import selectors
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Acknowledgement
from attnmon.link.records.run_setup import Setup
from attnmon.link.ring import map_read_only
from attnmon_renderer import process_messages
from attnmon_renderer.insight.notify.notifier import Notifier
from attnmon_renderer.process_messages import ProcessMessage, RunStatus
from attnmon_renderer.process_title import set_title
from attnmon_renderer.storage import regular_files
from attnmon_renderer.supervision.drawing_stage import DrawingStage
from attnmon_renderer.supervision.receiver import Receiver, receive_setup
from attnmon_renderer.supervision.recording_stage import RecordingStage
from attnmon_renderer.supervision.run_state import RunState
from attnmon_renderer.supervision.scheduling import priority, spare_core
from attnmon_renderer.supervision.uploading_stage import UploadingStage
from attnmon_renderer.supervision.worker_pool import NewPool, WorkerPool
from attnmon_renderer.supervision.worker_priorities import PROBE_SECONDS
from attnmon_renderer.supervision.write_lock import WriteLock

TICK_SECONDS = 2.0
"""How often children that have a task are checked. Without tasks nothing wakes the renderer."""
RESEND_SECONDS = 0.1
"""How soon to send again to a training process that has not read what it was sent before."""


def serve(descriptor: int) -> None:
    """Run the renderer of the training process at the other end of this socket, to its end."""
    priority.ignore_signals()
    channel = Channel.from_descriptor(descriptor)
    try:
        setup, ring, write_lock = receive_setup(channel)
    except ChannelClosed:
        return
    priority.set_affinity(setup.cpus)
    set_title("renderer", setup.save_dir)
    Supervisor(channel, setup, ring, write_lock).run()


class Supervisor:
    """The event loop of one training process's renderer.

    Args:
        channel: leads to the training process.
        ring: the descriptor of the ring's memory.
        write_lock: nothing is drawn or recorded before it is held.
        server: in a standalone renderer, leads to the process that accepted the training. It gets
            the run's status; when it closes this channel, no more captures are accepted.
    """

    def __init__(
        self,
        channel: Channel,
        setup: Setup,
        ring: int,
        write_lock: WriteLock,
        server: Channel | None = None,
    ) -> None:
        self._write_lock = write_lock
        self._server = server
        self._reported: RunStatus | None = None
        self._run = RunState()
        self._selector = selectors.DefaultSelector()
        self._receiver = Receiver(channel, setup, self._run, self._selector)

        def work(own: Channel) -> None:
            from attnmon_renderer.worker import run_worker

            run_worker(own, self._drawing.setup, map_read_only(ring, setup.ring_bytes))

        def record(own: Channel) -> None:
            from attnmon_renderer.recorder import run_recorder

            run_recorder(own, setup, lambda: map_read_only(ring, setup.ring_bytes))

        def new_pool(role: str, size: int, run: Callable[[Channel], None]) -> NewPool:
            def run_titled(own: Channel) -> None:
                set_title(role, setup.save_dir)
                regular_files.set_mode(setup.mode)
                run(own)

            keep_open = {ring, *write_lock.descriptors}
            return partial(WorkerPool, role, size, run_titled, keep_open, self._selector)

        self._drawing = DrawingStage(
            self._run,
            setup,
            new_pool("worker", setup.workers, work),
            partial(WorkerPool, "probe", 1, spare_core.run_probe, set(), self._selector),
        )
        self._recording = RecordingStage(
            self._run,
            new_pool("recorder", 1, record),
            setup.may_hold_run,
            self._acknowledge,
            self._drawing.draw_no_more_pictures,
        )
        self._uploading = UploadingStage(setup, self._selector)
        self._notifier = Notifier(setup, self._selector, self._run.add_error)
        if server is not None:
            self._selector.register(server, selectors.EVENT_READ, self._stop)

    def run(self) -> None:
        """Serve until the training process is gone and all that it announced is settled."""
        while not self.advance():
            self.wait(self._timeout())
        self.close()

    def advance(self) -> bool:
        """Do all that can be done without waiting. True when nothing is left to do."""
        if self._write_lock.try_acquire():
            self._recording.hand_out()
            if self._recording.has_begun:
                self._drawing.hand_out()
            self._uploading.review()
        self._receiver.send_outgoing()
        self._report()
        is_settled = self._run.is_settled and not self._receiver.has_unsent
        return bool(self._run.end_state) and is_settled and self._write_lock.try_acquire()

    def wait(self, seconds: float | None) -> None:
        """Wait for messages, at most so long; handle them, and look after the children."""
        for key, _ in self._selector.select(seconds):
            key.data()
        self._drawing.pool.kill_hung()
        self._recording.pool.kill_hung()
        self._drawing.review_priorities()

    def close(self) -> None:
        """Write how the run ended, end all children and release the write lock."""
        self._drawing.close()
        self._recording.close(tuple(self._drawing.pool.lost_pids))
        self._notifier.close()
        self._write_lock.release()
        self._uploading.finish()
        self._selector.close()

    def _acknowledge(self, acknowledgement: Acknowledgement) -> None:
        self._receiver.acknowledge(acknowledgement)
        self._notifier.tell(acknowledgement.alerts)

    def _timeout(self) -> float | None:
        if self._receiver.has_unsent:
            return RESEND_SECONDS
        if self._drawing.priorities.is_probing:
            return PROBE_SECONDS
        is_idle = self._run.is_settled and self._write_lock.try_acquire()
        return self._uploading.seconds_left if is_idle else TICK_SECONDS

    def _report(self) -> None:
        """Send a changed status to the standalone renderer.

        One that does not fit into the channel is made up for by the next.
        """
        if self._server is not None:
            status = replace(self._run.status(), state=self._run.end_state or "running")
            if status != self._reported:
                self._reported = status
                report_to_server(self._server, status)

    def _stop(self) -> None:
        """Finish what was announced, and accept no more."""
        assert self._server is not None
        self._selector.unregister(self._server)
        self._receiver.stop("attnmon-renderer was stopped")


def report_to_server(server: Channel, message: ProcessMessage) -> None:
    """Send a message to the standalone renderer. Its end is noticed elsewhere."""
    with contextlib.suppress(ChannelClosed):
        server.send(process_messages.encode(message))
