"""One training process at a standalone renderer: both ends of the process that serves it.

In that process, `serve`: a supervisor with its own ring, workers and recorder, that shares nothing
with those of other training processes. In the standalone renderer, `ClientSession`: what it says
of itself.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnmon.link import messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Accounts, Refusal, Setup
from attnmon.link.schema import MessageError
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import RunStatus, TrainerRefused, TrainerServed
from attnmon_renderer.storage import atomic_files
from attnmon_renderer.supervision import child_process, priority
from attnmon_renderer.supervision.receiver import receive_setup
from attnmon_renderer.supervision.supervisor import Supervisor, report_to_server

SETUP_SECONDS = 30.0
"""A connection over which nothing comes for so long is closed."""


class ClientSession:
    """What is known of a training process that has come in. Forking may raise OSError."""

    def __init__(self, number: int, connection: socket.socket, allowed_root: Path | None) -> None:
        self.number = number
        self.accepted: TrainerServed | None = None
        self.status = RunStatus(Accounts(), 0, 0, "arriving", (), ())
        self.refused = ""
        descriptor = connection.fileno()
        with _no_signals():
            self._child = child_process.fork(
                "supervisor",
                lambda own: serve_client(descriptor, own, allowed_root),
                {descriptor},
            )

    @property
    def channel(self) -> Channel:
        return self._child.channel

    @property
    def unfinished(self) -> int:
        """Captures that were announced, as far as is known, and are not settled."""
        trainer, status = self.status.trainer, self.status
        settled = trainer.dropped + trainer.failed + status.rendered + status.failed
        return max(trainer.captured - settled, 0)

    def receive_all(self) -> bool:
        """Take its news in. False: it has ended."""
        try:
            while (packet := self._child.channel.receive()) is not None:
                self._handle(process_messages.decode(packet.data))
        except ChannelClosed:
            return False
        return True

    def stop(self) -> None:
        """Ask it to finish what was announced, and to take in no more."""
        self._child.channel.end_sending()

    def kill(self) -> None:
        """With the processes it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()

    def reap(self) -> str:
        """After its end; says how it ended."""
        return self._child.reap()

    def _handle(self, news: process_messages.ProcessMessage) -> None:
        if isinstance(news, RunStatus):
            self.status = news
        elif isinstance(news, TrainerServed):
            self.accepted = news
        elif isinstance(news, TrainerRefused):
            self.refused = news.reason


def serve_client(descriptor: int, server: Channel, allowed_root: Path | None) -> None:
    """Be the renderer of the training process at the other end, to its end or to that of `server`.

    What it asks for is written below its own directory; when `allowed_root` is given, only if that
    directory lies there.
    """
    os.setpgid(0, 0)
    priority.ignore_signals()
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _redirect_output()
    channel = Channel.from_descriptor(descriptor)
    try:
        setup, ring, write_lock = receive_setup(channel, SETUP_SECONDS)
        reason = reason_to_refuse(setup, ring, allowed_root)
    except ChannelClosed:
        return
    except MessageError as error:
        reason = f"the first message cannot be understood; are both of one version? {error}"
    if reason:
        report_to_server(server, TrainerRefused(reason))
        channel.send(messages.encode(Refusal(reason)))
        return
    report_to_server(server, TrainerServed(setup.trainer_pid, setup.save_dir))
    Supervisor(channel, setup, ring, write_lock, server).run()


def reason_to_refuse(setup: Setup, ring: int, allowed_root: Path | None) -> str:
    """Why such a training process is not taken on, and what to do; empty when it is."""
    folder = Path(setup.save_dir)
    if allowed_root is not None and not folder.resolve().is_relative_to(allowed_root):
        return (
            f"save_dir={setup.save_dir!r} does not lie below {str(allowed_root)!r}, where alone "
            "this renderer writes; choose another save_dir, or start it with another --save-dir"
        )
    if not folder.is_absolute() or not os.access(folder, os.W_OK | os.X_OK):
        return (
            f"the renderer cannot write to save_dir={setup.save_dir!r}; in a container of its own "
            "it must see that directory at the same place"
        )
    if os.fstat(ring).st_size < setup.ring_bytes:
        return f"the ring is smaller than the {setup.ring_bytes} bytes it is said to have"
    return ""


@contextmanager
def _no_signals() -> Iterator[None]:
    """One that came to the child too early would be heard at a descriptor it no longer has."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _redirect_output() -> None:
    """The terminal is for the log. Complaints go to a nameless file, for last words to be found."""
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    words = atomic_files.anonymous_file(lambda file: None)
    os.dup2(words, 2)
    os.close(words)
