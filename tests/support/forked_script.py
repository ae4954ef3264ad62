"""Runs Python scripts as forks of a process that has libraries loaded: loading takes seconds.

What Python and libraries decide when they start, by options and variables, was decided before.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.project import TESTS
from support.script_server import NUMBER

_SERVE = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from support.script_server import serve
exec(serve({{descriptor}}, {{libraries!r}}), vars(sys.modules["__main__"]))
"""
_READ_AT_THE_START = (
    "PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "MPL", "MATPLOTLIB", "XDG_",
)  # fmt: skip
"""How the names of variables begin that are read at the start. Torch itself sets some of CUDA's."""
_PR_SET_CHILD_SUBREAPER = 36
_adopting = threading.Lock()


class ScriptServer:
    """A process that forks scripts.

    libraries: the code that loads what its scripts find loaded. variables: its environment.
    """

    def __init__(
        self, libraries: str, variables: Mapping[str, str], arguments: Collection[str] = ()
    ) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source = _SERVE.format(descriptor=theirs.fileno(), libraries=libraries)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", source, *arguments], env=variables, cwd="/",
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self._variables = _read_at_the_start(variables)

    def can_fork_with(self, variables: Mapping[str, str]) -> bool:
        """Whether an interpreter in this environment would start as the server did."""
        return self._variables == _read_at_the_start(variables)

    def fork(self, request: dict[str, Any], descriptors: Collection[int]) -> int:
        """Forks a script, which becomes a child of this process. Returns its process id."""
        answers, answer = os.pipe()
        with os.fdopen(answers, "rb") as reading, _adopting:
            _adopt_orphans(True)
            try:
                with os.fdopen(answer, "wb"):
                    packet = json.dumps(request).encode()
                    socket.send_fds(self._requests, [packet], [answer, *descriptors])
                found = reading.read()
            finally:
                _adopt_orphans(False)
        assert found, "the server of scripts is gone"
        return int(NUMBER.unpack(found)[0])

    def close(self) -> None:
        self._requests.close()
        self._process.wait()


def _read_at_the_start(variables: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in variables.items() if key.startswith(_READ_AT_THE_START)}


def _adopt_orphans(whether: bool) -> None:
    """Has this process become the parent of descendants that lose theirs; or not, as usual."""
    assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(whether), 0, 0, 0) == 0


class ForkedProcess:
    """A child of this process that is the fork of a server's, seen as a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end. Returns its exit code."""
        if self.returncode is None:
            end = os.pidfd_open(self.pid)
            try:
                if not select.select([end], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired("a script", timeout or 0)
            finally:
                os.close(end)
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
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

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_LOAD = "import torch, torch._dynamo"
"""Every optimizer loads the second, which takes as long as torch itself."""
_with_torch: list[ScriptServer] = []
"""The server, while there is one."""


@contextlib.contextmanager
def script_server() -> Iterator[None]:
    """Starts the server of scripts that find torch loaded, and ends it at the end of the block."""
    with contextlib.closing(ScriptServer(_LOAD, os.environ)) as server:
        _with_torch.append(server)
        yield
        _with_torch.clear()


def can_fork_with(variables: Mapping[str, str]) -> bool:
    """Whether an interpreter that these variables are added for would start as the server did."""
    return bool(_with_torch) and _with_torch[0].can_fork_with(os.environ | variables)


def program_of(file: str) -> str:
    """Returns a script that runs this file, with this process's modules and without warnings."""
    return f"""
import runpy, sys, warnings
warnings.simplefilter("ignore")
sys.path[:] = {sys.path!r}
runpy.run_path({file!r}, run_name="__main__")
"""


class ForkedScript(ForkedProcess):
    """A script that runs as `python -P -c` would run it, with torch loaded.

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
        request = {
            "source": source,
            "arguments": arguments,
            "folder": str(cwd or Path.cwd()),
            "environment": os.environ | (variables or {}),
            "descriptors": [],
            "own_group": False,
        }
        super().__init__(_with_torch[0].fork(request, streams))


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
                self.kill()
                raise
            return output.result(), errors.result()


def run_source(
    source: str, *arguments: str, timeout: float = 100, **given: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end as `python -P -c` would run it, with torch loaded."""
    script = PipedScript(source, *arguments, **given)
    output = script.communicate(timeout=timeout)
    return subprocess.CompletedProcess("a script", script.wait(), *output)


def run_file(
    file: Path, *arguments: str, cwd: Path | None = None, timeout: float = 100
) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end as `python FILE` would run it, with torch loaded."""
    source = f"""
import runpy, sys
sys.path.insert(0, {str(file.parent)!r})
runpy.run_path({str(file)!r}, run_name="__main__")
"""
    return run_source(source, *arguments, cwd=cwd, timeout=timeout)
