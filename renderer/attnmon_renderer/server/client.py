"""One training process at a standalone renderer, and the process that serves it.

`serve_client` runs in that process: a supervisor with its own ring, workers and recorder, which
shares nothing with those of other training processes. `ClientSession` stands for it in the
standalone renderer.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attnmon.link import descriptors, messages
from attnmon.link.channel import Channel, ChannelClosed
from attnmon.link.messages import Refusal
from attnmon.link.records.run_setup import Setup
from attnmon.link.records.schema import MessageError
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import process_messages
from attnmon_renderer.process_messages import RunStatus, TrainerRefused, TrainerServed
from attnmon_renderer.process_title import set_title
from attnmon_renderer.supervision import child_process
from attnmon_renderer.supervision.receiver import receive_setup
from attnmon_renderer.supervision.scheduling import priority
from attnmon_renderer.supervision.supervisor import Supervisor, report_to_server

SETUP_SECONDS = 30.0
"""A connection over which no Setup comes for so long is closed."""


class ClientSession:
    """A connected training process, as far as its supervisor has reported it.

    Creating one forks the supervisor, which may raise OSError.

    Args:
        number: tells sessions apart in the log.
        allowed_root: the supervisor writes below this directory only; None allows all.
    """

    def __init__(self, number: int, connection: socket.socket, allowed_root: Path | None) -> None:
        self.number = number
        self.accepted: TrainerServed | None = None
        """Set once the training process is accepted."""
        self.status = RunStatus(Accounts(), 0, 0, "arriving", (), ())
        self.refused = ""
        """Why the training process was refused; empty if it was not."""
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
        """Captures that were announced and are not settled, as far as is known."""
        trainer, status = self.status.trainer, self.status
        settled = trainer.dropped + trainer.failed + status.rendered + status.failed
        return max(trainer.captured - settled, 0)

    def receive_all(self) -> bool:
        """Receive what the supervisor reports. False when it has ended."""
        try:
            while (packet := self._child.channel.receive()) is not None:
                self._handle(process_messages.decode(packet.data))
        except ChannelClosed:
            return False
        return True

    def stop(self) -> None:
        """Ask the supervisor to finish what was announced, and to accept no more."""
        self._child.channel.end_sending()

    def kill(self) -> None:
        """Kill the supervisor and the processes it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()

    def reap(self) -> str:
        """Wait for the supervisor's end and return how it ended, in words."""
        return self._child.reap()

    def _handle(self, message: process_messages.ProcessMessage) -> None:
        if isinstance(message, RunStatus):
            self.status = message
        elif isinstance(message, TrainerServed):
            self.accepted = message
        elif isinstance(message, TrainerRefused):
            self.refused = message.reason


def serve_client(descriptor: int, server: Channel, allowed_root: Path | None) -> None:
    """Run the renderer of a training process, in a child of the standalone renderer.

    Args:
        descriptor: of the connection to the training process.
        server: leads to the standalone renderer; its end stops this renderer.
        allowed_root: a save_dir elsewhere is refused; None allows all.
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
    set_title("renderer", setup.save_dir)
    Supervisor(channel, setup, ring, write_lock, server).run()


def reason_to_refuse(setup: Setup, ring: int, allowed_root: Path | None) -> str:
    """Return why a training process cannot be served, and what to do; empty when it can."""
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
    """Block signals: a forked child would write them to a wakeup descriptor that it has closed."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _redirect_output() -> None:
    """Keep the terminal for the server's log.

    Errors go to a nameless file, where the reason of a child's death can be read.
    """
    with open(os.devnull, "r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    errors = descriptors.make_nameless_file(lambda file: None)
    os.dup2(errors, 2)
    os.close(errors)
