"""One renderer for several trainings: waits for them at a socket, and draws what they capture.

A training attaches by `TrainingAttentionMonitor(renderer="attach")`, or by ATTNMON_RENDERER=attach
in its environment. Ctrl-C or SIGTERM ends the renderer once what was announced is drawn; a second
one ends it at once.
"""

import argparse
import os
import select
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from attnmon._version import __version__
from attnmon.link import rendezvous
from attnmon.link.thread_limits import SINGLE_THREAD
from attnmon_renderer.server.client import ClientSession
from attnmon_renderer.server.listener import Listener
from attnmon_renderer.server.server import RendererServer
from attnmon_renderer.storage import regular_files
from attnmon_renderer.terminal import harmless

NOT_FOR_DRAWING = ("MPLBACKEND", "MATPLOTLIBRC")
"""Variables of the environment that would change how matplotlib draws."""

LONGEST_LINE = 1000
"""Characters of a log line: at most 4 bytes each; a ready pipe takes 4,096 without waiting."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve trainings until a signal; returns the exit code.

    0 after an orderly end, 1 if it cannot start or could not finish, 2 for a wrong option.
    """
    arguments = parsed(argv)
    count = os.cpu_count() or 1
    if arguments.cpus and max(arguments.cpus) >= count:
        problem = f"--cpus {max(arguments.cpus)}: there are only the processors 0 … {count - 1}"
        print(f"attnmon-renderer: {problem}", file=sys.stderr)
        return 2
    allowed_root = None if arguments.save_dir is None else arguments.save_dir.absolute()
    folder = (arguments.socket_dir or rendezvous.folders()[0]).absolute()
    try:
        if allowed_root is not None:
            regular_files.refuse_to_make_top_folder(allowed_root)
            allowed_root.mkdir(mode=0o700, parents=True, exist_ok=True)
            allowed_root = allowed_root.resolve()
        if arguments.cpus:
            os.sched_setaffinity(0, arguments.cpus)
        listener = Listener(folder)
    except (OSError, AttributeError) as error:
        print(f"attnmon-renderer: {harmless(error)}", file=sys.stderr)
        return 1
    _prepare_environment()
    log = TerminalLog(sys.stdout)
    try:
        return 0 if RendererServer(listener, log, allowed_root, arguments.grace).run() else 1
    finally:
        listener.close()
        log.show([])


class TerminalLog:
    """Prints log lines; on a terminal also, below them, a live line for each training.

    Never waits for a reader: lines that a full pipe or a stopped terminal does not take are left
    out, and said once it takes them again.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._live_lines: list[str] = []
        self._left_out = 0

    def log(self, text: str) -> None:
        """Print one line with the time, above the live lines."""
        lines = [f"[{time.strftime('%H:%M:%S')}] {harmless(text)[:LONGEST_LINE]}"]
        if self._left_out:
            lines.insert(0, f"({self._left_out} lines left out: nobody read them)")
        shown = "".join(f"{line}\n" for line in [*lines, *self._live_lines])
        written = self._write(self._erase_live_lines() + shown)
        self._left_out = 0 if written else self._left_out + 1

    def show(self, clients: list[ClientSession]) -> None:
        """Redraw the live lines, one for each client, if they have changed."""
        width = _terminal_width()
        lines = [live_line(client)[:width] for client in clients]
        if self._is_terminal and lines != self._live_lines:
            shown = "".join(f"{line}\n" for line in lines)
            if self._write(self._erase_live_lines() + shown):
                self._live_lines = lines

    def _erase_live_lines(self) -> str:
        """Returns the control characters that move the cursor up and erase the live lines."""
        return f"\x1b[{len(self._live_lines)}A\x1b[J" if self._live_lines else ""

    def _write(self, text: str) -> bool:
        try:
            if not select.select([], [self._stream], [], 0)[1]:
                return False  # full: a write would wait, and every training's drawing with it
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # the terminal is gone, or the log's disk is full: drawing goes on
        return True


def live_line(client: ClientSession) -> str:
    """Returns the counts of one training and its directory."""
    status = client.status
    failed = status.trainer.failed + status.failed
    text = f"{client.number}: captured {status.trainer.captured}, rendered {status.rendered}"
    text += f", dropped {status.trainer.dropped}, failed {failed}"
    return text + (f"  {harmless(client.accepted.save_dir)}" if client.accepted else "")


def _terminal_width() -> int:
    try:
        return os.get_terminal_size().columns - 1
    except OSError:
        return 79


def _prepare_environment() -> None:
    """Set the environment of the workers, which load numpy and matplotlib after they are forked."""
    os.environ.update(SINGLE_THREAD, CUDA_VISIBLE_DEVICES="")
    for name in NOT_FOR_DRAWING:
        os.environ.pop(name, None)
    os.chdir("/")  # this directory may hold a matplotlibrc, or want to be unmounted


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; a wrong option ends the process with 2."""
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
    return parser.parse_args(argv)


def cpu_list(text: str) -> set[int]:
    """Parse a list of processors such as "2,3" or "4-7".

    Raises:
        ValueError: the text is no such list; argparse turns this into a message.
    """
    processors: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        processors |= set(range(int(first), int(last or first) + 1))
    if not processors:
        raise ValueError(text)
    return processors
