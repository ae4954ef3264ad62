"""Runs in a process of its own: loads torch once, and forks a child for each Python script.

A child returns from `serve` with its script. So it ends as every interpreter does: by its own
exit functions, threads, exceptions and signals. `support.forked_script` starts all this.
"""

import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from types import ModuleType
from typing import Any

LONGEST_REQUEST = 1 << 17
NUMBER = struct.Struct("i")
"""Two of them answer a request: the script's process id and, when it has ended, its status."""


def serve(descriptor: int) -> str:
    """Answers requests until nobody can make one. Returns, in a child, the script that it is."""
    requests = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, whose end ends this
    signal.signal(signal.SIGCHLD, _reap)
    search_path = sys.path[1:]
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 4)
        if not request:
            os._exit(0)
        import torch  # noqa: F401 - not before, since most test sessions are short

        gc.freeze()  # a child that looks through all of it would copy its memory
        if os.fork() == 0:
            requests.close()
            *streams, answers = descriptors
            _keep(streams, answers)
            return _become(json.loads(request), search_path, streams)
        for received in descriptors:
            os.close(received)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(streams: list[int], answers: int) -> None:
    """Forks once more, and returns in the child only: its parent tells how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        os.write(answers, NUMBER.pack(child))
        os.write(answers, NUMBER.pack(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(answers)


def _become(request: dict[str, Any], search_path: list[str], streams: list[int]) -> str:
    """Makes of this process the interpreter that was asked for. Returns its script."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = None  # it follows from the environment
    sys.path[:] = search_path
    sys.argv[1:] = request["arguments"]
    _renew_main()
    source: str = request["source"]
    return source


def _renew_main() -> None:
    """Replaces the module `__main__`, which was frozen and has names of ours."""
    given = {key: value for key, value in vars(sys.modules["__main__"]).items() if key[:2] == "__"}
    sys.modules["__main__"] = ModuleType("__main__")
    vars(sys.modules["__main__"]).update(given)
