"""Has kernels compiled beside the training, and launched only when they are.

Triton compiles a kernel at its first launch, in the thread that launches it, for seconds. Here it
asks before: what is not compiled yet is not launched, and a process of its own (`kernel_compiler`)
compiles it into Triton's cache on disk, from where the next launch loads it. Where that cache is
may change: torch's compiler puts it elsewhere when it is first used.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from attnmon.config.own_python import is_own_python
from attnmon.device.kernel_compiler import ANSWER

_BOOT = """\
import importlib.machinery, importlib.util, json, sys
folder, search_path = json.loads(sys.argv[1])
sys.path += [other for other in search_path if other not in sys.path]
spec = importlib.machinery.PathFinder.find_spec("attnmon", [folder])
sys.modules["attnmon"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from attnmon.device import kernel_compiler
kernel_compiler.main()
"""
_KERNELS = ("survey_kernels", "mask_kernels", "average_kernels", "window_kernels")
OURS = tuple(f"attnmon.device.kernels.{name}" for name in _KERNELS)
WAITING = "its kernels are being compiled"


class NotBuilt(Exception):
    """A kernel was not launched: it is being compiled, or could not be; the message says which."""


class KernelBuilds:
    """The kernels of this process: compiled, being compiled, or not to be compiled."""

    def __init__(self) -> None:
        self.failure = ""
        """Why no kernel can be compiled any more; empty while all could."""
        self._prepared_in = ""
        """The cache in which Triton's driver was built, too, by a C compiler."""
        self._built: set[str] = set()
        self._missing: dict[str, None] = {}
        """Requests for what was to be launched and was not, in their order."""
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: tuple[str, ...] = ()
        self._answers: IO[bytes] | None = None

    @contextmanager
    def only_built(self, device: torch.device) -> Iterator[None]:
        """Launch in this block what is compiled, and have compiled what is not.

        `require` tells after a launch. On a CPU kernels are interpreted, and never compiled.

        Raises:
            NotBuilt: nothing can be launched yet, or ever.
        """
        if device.type != "cuda":
            yield
            return
        self._require_prepared()
        from triton import knobs

        self._missing.clear()
        theirs = knobs.runtime.jit_cache_hook
        knobs.runtime.jit_cache_hook = partial(self._is_missing, theirs)
        try:
            yield
        finally:
            knobs.runtime.jit_cache_hook = theirs

    @property
    def is_incomplete(self) -> bool:
        """Whether a kernel of the present block was not launched."""
        return bool(self._missing)

    def require(self) -> None:
        """Raise `NotBuilt` where a kernel of the present block was not launched.

        What the others have made is not to be used then.
        """
        if self._missing:
            self._compile()
            raise NotBuilt(self.failure or WAITING)

    def _require_prepared(self) -> None:
        """Take in what the process has answered. Raises `NotBuilt` while there is more to do."""
        self._take_answers()
        if self._prepared_in != _cache() and not self.failure and self._process is None:
            self._start(())
        if self.failure or self._process is not None:
            raise NotBuilt(self.failure or WAITING)

    def _is_missing(self, theirs: Any, **told: Any) -> bool | None:
        """Answer Triton, before it compiles: True, and it neither compiles nor launches."""
        if told["fn"].module not in OURS:
            return None if theirs is None else theirs(**told)
        request = request_of(**told)
        if request in self._built:
            return False
        self._missing[request] = None
        return True

    def _compile(self) -> None:
        requests, self._missing = tuple(self._missing), {}
        if self._process is None and not self.failure:
            self._start(requests)

    def _start(self, requests: tuple[str, ...]) -> None:
        self._prepared_in = _cache()
        try:
            if not is_own_python():
                raise OSError(f"{sys.executable} is no Python")
            self._answers = _nameless_file()
            with _nameless_file() as given:
                given.write("".join(f"{request}\n" for request in requests).encode())
                given.seek(0)
                self._process = _popen(given, self._answers, self._prepared_in)
        except OSError as error:
            self.failure = f"its kernels could not be compiled: {error}"
        self._asked = requests

    def _take_answers(self) -> None:
        if self._process is None or self._answers is None or self._process.poll() is None:
            return
        code, self._process = self._process.returncode, None
        with self._answers as answers:
            answers.seek(0)
            lines = answers.read().decode(errors="replace").splitlines()
        errors = [line.removeprefix(ANSWER) for line in lines if line.startswith(ANSWER)]
        if code or len(errors) != 1 + len(self._asked):
            self.failure = f"its kernels could not be compiled: the process ended with {code}"
        elif found := next(filter(None, errors), ""):
            self.failure = f"its kernels could not be compiled: {found}"
        self._built.update(self._asked)

    def end(self) -> None:
        """End the process that compiles, where there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._answers is not None:
            self._answers.close()


BUILDS = KernelBuilds()
"""Those of this process, whichever monitor asks."""


def _cache() -> str:
    """Return the folder in which Triton looks for what is compiled, at present."""
    from triton import knobs

    return str(knobs.cache.dir)


def request_of(fn: Any, compile: dict[str, Any], **_: Any) -> str:
    """Return the request to compile what Triton tells of before it would compile it itself."""
    from triton.runtime import driver

    target = driver.active.get_current_target()
    told = {
        "module": fn.module,
        "name": fn.jit_function.fn.__name__,
        "specialization": compile["specialization_data"],
        "target": [target.backend, target.arch, target.warp_size],
        "cache": _cache(),
    }
    return json.dumps(told)


def _nameless_file() -> IO[bytes]:
    return open(os.memfd_create("attnmon-kernels"), "w+b")


def _popen(requests: IO[bytes], answers: IO[bytes], cache: str) -> "subprocess.Popen[bytes]":
    ours = str(Path(__file__).absolute().parents[2])
    search_path = [folder for folder in sys.path if os.path.isabs(folder)]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _BOOT, json.dumps([ours, search_path])],
        stdin=requests,
        stdout=answers,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TRITON_CACHE_DIR": cache},
        process_group=0,  # Ctrl-C is not for it
    )
