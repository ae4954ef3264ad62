"""One renderer for several trainings: waits for them at a socket, and draws what they capture.

A training attaches by `TrainingAttentionMonitor(renderer="attach")`, or by ATTNMON_RENDERER=attach
in its environment. Ctrl-C or SIGTERM ends the renderer once what was announced is drawn; a second
one ends it at once.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from attnmon._version import __version__
from attnmon.link import rendezvous
from attnmon.link.single_thread import SINGLE_THREAD
from attnmon_renderer.server.client import ClientSession
from attnmon_renderer.server.listener import Listener
from attnmon_renderer.server.server import RendererServer
from attnmon_renderer.supervision import priority
from attnmon_renderer.terminal import harmless

NOT_FOR_DRAWING = ("MPLBACKEND", "MATPLOTLIBRC")


def main(argv: Sequence[str] | None = None) -> int:
    """0 after an orderly end; 1 when it cannot start, or could not finish; 2 for a wrong option."""
    arguments = _parser().parse_args(argv)
    allowed_root = None if arguments.save_dir is None else arguments.save_dir.absolute()
    folder = (arguments.socket_dir or rendezvous.folders()[0]).absolute()
    try:
        if allowed_root is not None:
            allowed_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            allowed_root = allowed_root.resolve()
        if arguments.cpus:
            os.sched_setaffinity(0, arguments.cpus)
        listener = Listener(folder)
    except (OSError, AttributeError) as error:
        print(f"attnmon-renderer: {harmless(error)}", file=sys.stderr)
        return 1
    level = priority.yield_to_training()
    _prepare_environment()
    log = TerminalLog(sys.stdout)
    log.log(f"attnmon-renderer {__version__} listens at {listener.path}, priority {level}")
    try:
        return 0 if RendererServer(listener, log, allowed_root, arguments.grace).run() else 1
    finally:
        listener.close()
        log.show([])


class TerminalLog:
    """Lines as things happen; on a terminal, beneath them a line for each training, kept fresh."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._beneath: list[str] = []

    def log(self, text: str) -> None:
        line = f"[{time.strftime('%H:%M:%S')}] {harmless(text)}"
        self._write("".join(f"{line}\n" for line in [self._upwards() + line, *self._beneath]))

    def show(self, clients: list[ClientSession]) -> None:
        width = _width()
        beneath = [live_line(client)[:width] for client in clients]
        if self._live and beneath != self._beneath:
            self._write(self._upwards() + "".join(f"{line}\n" for line in beneath))
            self._beneath = beneath

    def _upwards(self) -> str:
        """Over the lines beneath the log, and away with them."""
        return f"\x1b[{len(self._beneath)}A\x1b[J" if self._beneath else ""

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # the terminal is gone, or the log's disk is full: drawing goes on


def live_line(client: ClientSession) -> str:
    """How one training stands."""
    status = client.status
    failed = status.trainer.failed + status.failed
    words = f"{client.number}: captured {status.trainer.captured}, rendered {status.rendered}"
    words += f", dropped {status.trainer.dropped}, failed {failed}"
    return words + (f"  {harmless(client.accepted.save_dir)}" if client.accepted else "")


def _width() -> int:
    try:
        return os.get_terminal_size().columns - 1
    except OSError:
        return 79


def _prepare_environment() -> None:
    """For the workers, which load numpy and matplotlib only once they are forked."""
    os.environ.update(SINGLE_THREAD, CUDA_VISIBLE_DEVICES="")
    for name in NOT_FOR_DRAWING:
        os.environ.pop(name, None)
    os.chdir("/")  # this directory may hold a matplotlibrc, or want to be unmounted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnmon-renderer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"attnmon {__version__}")
    parser.add_argument(
        "--save-dir", metavar="DIR", type=Path, help="write nowhere but below this directory"
    )
    parser.add_argument(
        "--socket-dir", metavar="DIR", type=Path,
        help=f"private directory of the socket (default: {rendezvous.folders()[0]})",
    )  # fmt: skip
    parser.add_argument(
        "--cpus", metavar="LIST", type=cpu_list, help="run on these only, such as 2,3 or 4-7"
    )
    parser.add_argument(
        "--grace", metavar="SECONDS", type=float, default=60.0,
        help="at the end, time to finish what was announced (default: 60)",
    )  # fmt: skip
    return parser


def cpu_list(text: str) -> set[int]:
    """Raises ValueError, which argparse turns into words, for anything but "2,3" or "4-7"."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        chosen |= set(range(int(first), int(last or first) + 1))
    if not chosen:
        raise ValueError(text)
    return chosen
