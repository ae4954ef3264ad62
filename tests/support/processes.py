"""Starts the processes of a job as torchrun does, by environment variables."""

import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

from support.forked_script import PipedScript, program_of

SECONDS = 90
"""After this time the processes are killed and the test fails."""


def run_on_all(program: str, processes: int, *arguments: object) -> None:
    """Runs a program on all processes. Fails if one of them fails or does not end."""
    with started_on_all(program, processes, *arguments) as ranks:
        for rank in ranks:
            _, errors = rank.communicate(timeout=SECONDS)
            assert rank.returncode == 0, errors


@contextmanager
def started_on_all(program: str, processes: int, *arguments: object) -> Iterator[list[PipedScript]]:
    """Starts a program on all processes, and kills those that are left when the block ends."""
    launched = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "none",
    }  # fmt: skip
    ranks = [
        PipedScript(
            program_of(program),
            *map(str, arguments),
            variables={**launched, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(processes)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.send_signal(signal.SIGKILL)
            rank.wait()


def free_port() -> int:
    """Returns a port of this machine that nobody uses now."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
