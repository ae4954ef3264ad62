"""Starts the renderer's process, without waiting for it, and waits for its end.

`_BOOT` is the first thing that runs in the new process. Never `multiprocessing`: it would run the
user's script again in the child, or copy its threads and its CUDA context.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attnmon.config.own_python import is_own_python
from attnmon.link import descriptors
from attnmon.link.channel import Channel
from attnmon.link.descriptors import OwnDescriptor
from attnmon.link.thread_limits import SINGLE_THREAD

_BOOT = """\
import importlib.machinery, importlib.util, json, sys
ours, search_path = json.loads(sys.argv[1])
sys.path += [folder for folder in search_path if folder not in sys.path]
for name, folder in ours.items():
    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    sys.modules[name] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
from attnmon_renderer.supervision.supervisor import serve
serve(int(sys.argv[2]))
"""
END_SECONDS = 5.0
"""How long to wait for a renderer that was killed."""
_NOT_FOR_THE_RENDERER = (
    "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONWARNINGS", "PYTHONPATH",
    "PYTHONSAFEPATH", "CUDA_INJECTION64_PATH", "LD_PRELOAD", "MPLBACKEND", "MATPLOTLIBRC",
    "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip


class LaunchError(RuntimeError):
    """The renderer could not be started or joined; the message says why."""


@dataclass(eq=False)
class RendererProcess:
    """A renderer that was started, seen from the training process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    complaints: OwnDescriptor
    """Its standard error: a file without a name, never the user's terminal."""

    def last_words(self) -> str:
        """Return the last line that it wrote to its standard error; empty if there is none."""
        return descriptors.last_line(self.complaints.number) if self.complaints.is_ours() else ""

    def wait(self, timeout: float) -> bool:
        """Wait for its end, at most `timeout` seconds. True if it has ended."""
        try:
            self.process.wait(max(timeout, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_at_once(self) -> None:
        """Kill it with the processes that it has started, and wait for its end, but not for ever.

        One that hangs in a file system's call ends when that does.
        """
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            self.wait(END_SECONDS)

    def abandon(self) -> None:
        """Close the channel, and let it finish by itself."""
        self.channel.close()
        self.complaints.close()
        if self.process.poll() is None:
            self.process.returncode = 0  # or its __del__ warns of what is meant to be
            _finishing.add(self.process.pid)


_finishing: set[int] = set()
"""Ids of abandoned processes; not the objects, which may be finalized at any time."""


def none_is_finishing() -> bool:
    """Return whether all abandoned renderers have ended; reaps those that have."""
    _finishing.difference_update([pid for pid in _finishing if _has_ended(pid)])
    return not _finishing


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except OSError:
        return True  # somebody else has waited for it, or this is a forked child


def require_python() -> None:
    """Raise `LaunchError` where `sys.executable` is no Python: it would run the user's program."""
    if not sys.executable:
        raise LaunchError("this Python does not know its own executable")
    if not is_own_python():
        raise LaunchError(
            f"this is a frozen application, or one that embeds Python: {sys.executable} may be the "
            "application itself, and is not started to draw anything. Start `attnmon-renderer` on "
            "this machine before the training, and give renderer='attach'"
        )


def start() -> RendererProcess:
    """Start a renderer in its own process group, and return at once. Raises `LaunchError`."""
    require_python()
    none_is_finishing()
    packages = json.dumps(_packages())
    with contextlib.ExitStack() as on_failure:
        try:
            ours, theirs = Channel.pair()
            on_failure.callback(ours.close)
            with contextlib.closing(theirs), _nameless_file() as file:
                complaints = OwnDescriptor(os.dup(file.fileno()))
                on_failure.callback(complaints.close)
                process = _popen(packages, theirs.fileno(), file)
        except OSError as error:
            raise LaunchError(f"the renderer could not be started: {error}") from error
        on_failure.pop_all()
    return RendererProcess(process, ours, complaints)


def _popen(packages: str, channel: int, complaints: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT, packages, str(channel)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        pass_fds=[channel],
        cwd="/",  # the user's may hold a json.py or a matplotlibrc, or want to be unmounted
        env=_environment(),
        process_group=0,  # Ctrl-C is not for it; a new session would void its idle priority
    )


def _nameless_file() -> IO[bytes]:
    """Open a file in memory, if possible: a full or read-only disk is no reason not to start."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("attnmon-complaints", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile(prefix="attnmon-")


def _environment() -> dict[str, str]:
    wanted = {key: value for key, value in os.environ.items() if key not in _NOT_FOR_THE_RENDERER}
    return wanted | SINGLE_THREAD | {"CUDA_VISIBLE_DEVICES": ""}


def _packages() -> tuple[dict[str, str], list[str]]:
    """Return the folders of our two packages, and the search path for what they import.

    Our packages are named one by one: another version may be installed, and would come first on
    the renderer's own path. Everything else is searched for in Python's own folders first, so
    that no file of the user's is taken for a library.
    """
    spec = importlib.util.find_spec("attnmon_renderer")
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError("the package attnmon_renderer is not installed beside attnmon")
    folders = {"attnmon": Path(__file__).parents[1]}
    folders["attnmon_renderer"] = Path(spec.submodule_search_locations[0])
    ours = {name: str(folder.absolute().parent) for name, folder in folders.items()}
    return ours, [folder for folder in sys.path if os.path.isabs(folder)]
