"""Runs in a process of its own: loads libraries once, and forks a child for each Python script.

A child returns from `serve` with its script. So it ends as every interpreter does: by its own
exit functions, threads, exceptions and signals. `support.forked_script` starts all this.
"""

import ctypes
import fcntl
import gc
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from types import ModuleType
from typing import Any

LONGEST_REQUEST = 1 << 17
MOST_DESCRIPTORS = 16
NUMBER = struct.Struct("i")
"""Answers a request: the script's process id."""
_OUT_OF_THE_WAY = 1000
"""No descriptor that a script wants has a number as high."""


def serve(descriptor: int, libraries: str) -> str:
    """Answers requests until nobody can make one. Returns, in a child, the script that it is.

    libraries: the code that loads them, which runs when the first request comes.
    """
    requests = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, whose end ends this
    del sys.path[0]  # where this module was found
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, MOST_DESCRIPTORS)
        if not request:
            os._exit(0)
        if libraries:  # not before, since most test sessions are short
            exec(libraries, {})
            libraries = ""
            _keep_what_is_loaded()
        between = os.fork()
        if between == 0 and _is_orphan(descriptors[0]):
            requests.close()
            return _become(json.loads(request), descriptors)
        os.waitpid(between, 0)
        for received in descriptors:
            os.close(received)  # the answer's too: it is complete when nobody has it any more


def _keep_what_is_loaded() -> None:
    """Has no child look through it, or take it apart in the end: that would copy its memory."""
    loaded = [dict(vars(module)) for name, module in sys.modules.items() if name != "__main__"]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(loaded))
    gc.freeze()


def _is_orphan(answer: int) -> bool:
    """Forks once more, and returns in the child only, when it has lost its parent."""
    parent = os.getpid()
    child = os.fork()
    if child:
        os.write(answer, NUMBER.pack(child))
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
    return True


def _become(request: dict[str, Any], descriptors: list[int]) -> str:
    """Makes of this process the interpreter that was asked for. Returns its script."""
    os.close(descriptors[0])
    _put(descriptors[1:], [0, 1, 2, *request["descriptors"]])
    if request["own_group"]:
        os.setpgid(0, 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tempfile.tempdir = None  # it follows from the environment
    _leave_out_exit_functions()
    sys.argv[1:] = request["arguments"]
    _renew_main()
    source: str = request["source"]
    return source


def _leave_out_exit_functions() -> None:
    """Has the system's `exit` call none of those that libraries had registered before the fork.

    Torch's take apart what it holds, which copies 70 MB of memory. Python's own end comes before.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # glibc's: called with the status, the last one first
        libc.on_exit(libc._exit, None)


def _put(descriptors: list[int], numbers: list[int]) -> None:
    """Gives these descriptors these numbers."""
    away = [fcntl.fcntl(each, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for each, number in zip(away, numbers, strict=True):
        os.dup2(each, number)
        os.close(each)


def _renew_main() -> None:
    """Replaces the module `__main__`, which was frozen and has names of ours."""
    given = {key: value for key, value in vars(sys.modules["__main__"]).items() if key[:2] == "__"}
    sys.modules["__main__"] = ModuleType("__main__")
    vars(sys.modules["__main__"]).update(given)
