"""Checks claims in a process of their own, a new one after each that dies, hangs or breaks CUDA.

parent                            child: the same script with --child NUMBERS
for row in checked_apart(…) ◀── one line of JSON for each claim, by a pipe
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Check = Callable[[], tuple[bool, str]]
Row = dict[str, Any]
LEAST_SECONDS = 10.0
"""Of what is left, to begin another claim."""


def checked_apart(
    script: str, names: Sequence[str], each: float, in_all: float, more: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield a row for each claim, in order.

    each: seconds after which a claim is given up; in_all: after which no other is begun.
    more: further arguments for the script.
    """
    left, until = list(range(len(names))), time.monotonic() + in_all
    while left and until - time.monotonic() > LEAST_SECONDS:
        for number, row in _of_one_process(script, tuple(left), each, until, more):
            left.remove(number)
            yield {"claim": names[number], **row}
    yield from ({"claim": names[number], "holds": None, "measured": "no time"} for number in left)


def _of_one_process(
    script: str, numbers: Sequence[int], each: float, until: float, more: Sequence[str]
) -> Iterator[tuple[int, Row]]:
    """Yield what one process finds, up to the first claim that it does not survive."""
    reading, writing = os.pipe()
    chosen = ",".join(map(str, numbers))
    command = [sys.executable, script, "--child", chosen, "--to", str(writing), *more]
    process = subprocess.Popen(command, pass_fds=[writing], process_group=0)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:  # no line waits in a buffer
            for number in numbers:
                started = time.monotonic()
                line = _line(pipe, min(started + each, until))
                if not line:
                    seconds = time.monotonic() - started
                    yield number, _given_up(process, seconds)
                    return
                row = json.loads(line)
                is_over = row.pop("is_over")
                yield number, row
                if is_over:
                    return
    finally:
        _kill(process)


def _line(pipe: Any, until: float) -> bytes:
    """Return the next line; empty at the end, and when the time is over."""
    ready, _, _ = select.select([pipe], [], [], max(until - time.monotonic(), 0))
    found: bytes = pipe.readline() if ready else b""
    return found


def _given_up(process: "subprocess.Popen[bytes]", seconds: float) -> Row:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    how = "was still running" if process.returncode is None else f"ended with {process.returncode}"
    return {"holds": False, "measured": f"its process {how} after {seconds:.0f} s"}


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_here(
    checks: Sequence[Check], chosen: str, descriptor: int, is_sound: Callable[[], object]
) -> None:
    """Check these claims, and write a line for each; end when nothing can be checked any more.

    is_sound: raises where an error has spoilt this process.
    """
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        for number in map(int, chosen.split(",")):
            started = time.monotonic()
            try:
                holds, what = checks[number]()
                is_sound()
            except Exception as error:
                traceback.print_exc()
                holds, what = False, f"{type(error).__name__}: {error}"[:1000]
            row = {"holds": holds, "measured": what, "seconds": time.monotonic() - started}
            row["is_over"] = not _holds(is_sound)
            pipe.write(json.dumps(row).encode() + b"\n")
            if row["is_over"]:
                return


def _holds(is_sound: Callable[[], object]) -> bool:
    try:
        is_sound()
    except Exception:
        return False
    return True
