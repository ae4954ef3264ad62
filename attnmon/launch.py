"""Starting and stopping the renderer: both ends of it.

In the training process: `start` makes the channel and the process and waits for neither; `wait`
sees it off. In the renderer: `_BOOT` is the first thing that runs.

Never `multiprocessing`: it would run the user's script again in the child, or copy its threads
and its CUDA context.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attnmon.link.channel import Channel

_BOOT = """\
import json, sys
sys.path += [folder for folder in json.loads(sys.argv[1]) if folder not in sys.path]
from attnmon_renderer.supervisor import serve
serve(int(sys.argv[2]))
"""
_ONE_THREAD = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip
_NOT_FOR_THE_RENDERER = (
    "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONPROFILEIMPORTTIME", "PYTHONWARNINGS", "PYTHONPATH",
    "PYTHONSAFEPATH", "CUDA_INJECTION64_PATH", "LD_PRELOAD", "MPLBACKEND", "MATPLOTLIBRC",
    "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
_TAIL = 2000


class LaunchError(RuntimeError):
    """The renderer could not be started; says why."""


@dataclass(eq=False)
class Renderer:
    """A renderer that was started, seen from the training process."""

    process: subprocess.Popen[bytes]
    channel: Channel
    complaints: IO[bytes]
    """What it wrote to its standard error: a nameless file, never the user's terminal."""

    def last_words(self) -> str:
        """The end of what it complained about, for a warning."""
        try:
            size = self.complaints.seek(0, os.SEEK_END)
            self.complaints.seek(max(0, size - _TAIL))
            lines = self.complaints.read().decode(errors="replace").strip().splitlines()
        except (OSError, ValueError):
            return ""
        return lines[-1] if lines else ""

    def wait(self, timeout: float) -> bool:
        """Wait for its end, at most so many seconds; whether it has ended."""
        try:
            self.process.wait(max(timeout, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def abandon(self) -> None:
        """Let it finish by itself; nobody will ask how it ended."""
        self.channel.close()
        self.complaints.close()
        if self.process.poll() is None:
            self.process.returncode = 0  # or its __del__ warns of what is meant to be


def start() -> Renderer:
    """Start a renderer, in its own process group, and return at once. Raises `LaunchError`."""
    if not sys.executable:
        raise LaunchError("this Python does not know its own executable")
    ours, theirs = Channel.pair()
    complaints = tempfile.TemporaryFile(prefix="attnmon-")  # noqa: SIM115 - outlives this call
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, json.dumps(_search_path()), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=[theirs.fileno()],
            cwd="/",  # the user's may hold a json.py or a matplotlibrc, or want to be unmounted
            env=_environment(),
            process_group=0,  # Ctrl-C is not for it; a new session would void its idle priority
        )
    except OSError as error:
        ours.close()
        complaints.close()
        raise LaunchError(f"the renderer could not be started: {error}") from error
    finally:
        theirs.close()
    return Renderer(process, ours, complaints)


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_FOR_THE_RENDERER}
    return kept | dict.fromkeys(_ONE_THREAD, "1") | {"CUDA_VISIBLE_DEVICES": ""}


def _search_path() -> list[str]:
    """Where the renderer finds the packages, after its own Python's folders and never before."""
    spec = importlib.util.find_spec("attnmon_renderer")
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError("the package attnmon_renderer is not installed beside attnmon")
    packages = [Path(spec.submodule_search_locations[0]), Path(__file__).parent]
    folders = [str(package.absolute().parent) for package in packages]
    return folders + [folder for folder in sys.path if os.path.isabs(folder)]
