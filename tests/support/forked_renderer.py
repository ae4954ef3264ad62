"""Starts renderers as forks of a process that has their libraries loaded: it saves half a second.

All the rest is as ever: each renderer is a process of its own, in its own group, with its own
workers, and the test process is its parent. Trainings in processes of their own, and tests of
faults that the start of a renderer may meet, start renderers as users do.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import IO, Any

import pytest

from attnmon.session import renderer_process
from support.forked_script import ForkedProcess, ScriptServer

_start_an_interpreter = renderer_process._popen
_PACKAGES_ARE_FOUND = "    spec.loader.exec_module(package)\n"
_LOAD = """
import matplotlib.backends.backend_agg
import attnmon_renderer.drawing, attnmon_renderer.recorder, attnmon_renderer.worker
from attnmon_renderer.sinks.tensorboard import _load
_load()
import tensorboardX.proto.event_pb2
"""


class RendererServer(ScriptServer):
    """Forks renderers."""

    def __init__(self) -> None:
        self._packages = json.dumps(renderer_process._packages())
        self._finding, _ = _parts_of_boot()
        variables = renderer_process._environment()
        super().__init__(self._finding + _LOAD, variables, [self._packages])

    def start(self, packages: str, channel: int, complaints: IO[bytes]) -> Any:
        """Starts a renderer as `renderer_process` does, with a new interpreter where that matters.

        It does where the renderer would find other packages, or other variables at its start.
        """
        variables = renderer_process._environment()
        finding, serving = _parts_of_boot()
        as_here = (packages, finding) == (self._packages, self._finding)
        if not as_here or not self.can_fork_with(variables):
            return _start_an_interpreter(packages, channel, complaints)
        request = {
            "source": "import sys\n" + serving,
            "arguments": [packages, str(channel)],
            "folder": "/",
            "environment": variables,
            "descriptors": [channel],
            "own_group": True,
        }
        with open("/dev/null", "r+b") as nothing:
            streams = [nothing.fileno(), nothing.fileno(), complaints.fileno()]
            return ForkedProcess(self.fork(request, [*streams, channel]))


def _parts_of_boot() -> tuple[str, str]:
    """Returns what finds the renderer's packages and what serves, with what tests have added."""
    finding, found, serving = renderer_process._BOOT.partition(_PACKAGES_ARE_FOUND)
    return finding + found, serving


@contextlib.contextmanager
def renderer_server() -> Iterator[None]:
    """Has this process fork its renderers inside the block."""
    with contextlib.closing(RendererServer()) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer_process, "_popen", server.start)
        yield


@contextlib.contextmanager
def new_interpreters() -> Iterator[None]:
    """Has this process start its renderers as users' do inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renderer_process, "_popen", _start_an_interpreter)
        yield
