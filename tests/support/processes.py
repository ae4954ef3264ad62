"""Starts the processes of a job as torchrun does, by environment variables."""

import os
import socket
import sys
from contextlib import closing
from subprocess import PIPE, Popen

SECONDS = 90
"""After this time the processes are killed and the test fails."""


def run_on_all(program: str, processes: int, *arguments: object) -> None:
    """Runs a program on all processes. Fails if one of them fails or does not end."""
    launched = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "none", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip
    command = [sys.executable, "-W", "ignore", program, *map(str, arguments)]
    ranks = [
        Popen(
            command,
            env={**os.environ, **launched, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=SECONDS)
            assert rank.returncode == 0, errors
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def free_port() -> int:
    """Returns a port of this machine that nobody uses now."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
