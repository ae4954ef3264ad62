"""Runs Python scripts as forks of a process that has torch loaded: loading it takes a second.

What Python and torch decide when they start, by options and variables, was decided before.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.project import TESTS
from support.script_server import NUMBER

_SERVE = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from support.script_server import serve
exec(serve({{descriptor}}), vars(sys.modules["__main__"]))
"""
_READ_AT_THE_START = ("PYTHON", "LD_", "OMP_", "MKL_")
"""How the names of variables begin that are read at the start. Torch itself sets some of CUDA's."""
_requests: list[socket.socket] = []
"""Leads to the server, while there is one."""
_variables_at_its_start: dict[str, str] = {}


@contextlib.contextmanager
def script_server() -> Iterator[None]:
    """Starts the server, and ends it at the end of the block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE.format(descriptor=theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
        )  # fmt: skip
    _requests.append(ours)
    _variables_at_its_start.update(_read_at_the_start(os.environ))
    with ours:
        yield
    _requests.clear()
    server.wait()


def can_fork_with(variables: Mapping[str, str]) -> bool:
    """Whether an interpreter that these variables are added for would start as the server did."""
    return bool(_requests) and _variables_at_its_start == _read_at_the_start(os.environ | variables)


def _read_at_the_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key.startswith(_READ_AT_THE_START)}


def program_of(file: str) -> str:
    """Returns a script that runs this file, with this process's modules and without warnings."""
    return f"""
import runpy, sys, warnings
warnings.simplefilter("ignore")
sys.path[:] = {sys.path!r}
runpy.run_path({file!r}, run_name="__main__")
"""


class ForkedScript:
    """A script that runs as `python -P -c` would run it, seen as through a `subprocess.Popen`.

    streams: its standard streams. variables: added to the environment of this process.
    """

    def __init__(
        self,
        source: str,
        *arguments: str,
        streams: tuple[int, int, int],
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        assert not _read_at_the_start(variables or {}), "only a new interpreter reads these"
        self.returncode: int | None = None
        request = {
            "source": source,
            "arguments": arguments,
            "folder": str(cwd or Path.cwd()),
            "environment": os.environ | (variables or {}),
        }
        self._answers, answers = os.pipe()
        socket.send_fds(_requests[0], [json.dumps(request).encode()], [*streams, answers])
        os.close(answers)
        self.pid = self._next_answer()

    def _next_answer(self) -> int:
        packet = os.read(self._answers, NUMBER.size)
        assert packet, "the server of scripts is gone"
        return int(NUMBER.unpack(packet)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end. Returns its exit code."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a script", timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(self._next_answer())
            os.close(self._answers)
        return self.returncode

    def poll(self) -> int | None:
        """Returns its exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class PipedScript(ForkedScript):
    """One whose standard streams are pipes of text to and from here."""

    def __init__(self, source: str, *arguments: str, **given: Any) -> None:
        (stdin, to_it), (out_of_it, stdout), (errors, stderr) = (os.pipe() for _ in range(3))
        self.stdin, self.stdout, self.stderr = map(os.fdopen, (to_it, out_of_it, errors), "wrr")
        super().__init__(source, *arguments, streams=(stdin, stdout, stderr), **given)
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)

    def communicate(self, text: str = "", timeout: float = 100) -> tuple[str, str]:
        """Gives it this text and waits for its end. Returns what came out of its two streams."""
        with self.stdout, self.stderr, ThreadPoolExecutor(2) as pool:
            output, errors = pool.submit(self.stdout.read), pool.submit(self.stderr.read)
            with self.stdin:
                self.stdin.write(text)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.send_signal(signal.SIGKILL)
                raise
            return output.result(), errors.result()
