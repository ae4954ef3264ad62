"""Finds the rank of this process without asking the others.

It calls no collective, barrier or gather: a process that waits for others in a call that they do
not make waits for ever.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch.distributed as dist

_VARIABLES = (
    ("RANK", "WORLD_SIZE"),  # torchrun, Accelerate, Ray
    ("LOCAL_RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
)
"""(rank, number of processes) as launchers set them; the first rank that is found counts."""


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """The rank of a process, and how many train together."""

    rank: int = 0
    world_size: int = 1

    @property
    def folder(self) -> str:
        """Name of the directory that this process writes to, when several do."""
        return f"rank_{self.rank:05d}"


def find_process_rank(rank: int | None = None) -> ProcessRank:
    """Return the rank given, or that of torch.distributed, of the launcher's variables, or 0.

    The number of processes is found in the same order, without an argument; it is at least
    rank + 1.
    """
    found = _rank_from_torch() or _rank_from_launcher(os.environ) or ProcessRank()
    if rank is None:
        return found
    return ProcessRank(rank, max(found.world_size, rank + 1))


def _rank_from_torch() -> ProcessRank | None:
    if not (dist.is_available() and dist.is_initialized()):
        return None
    return ProcessRank(dist.get_rank(), dist.get_world_size())


def _rank_from_launcher(environment: Mapping[str, str]) -> ProcessRank | None:
    for rank_name, size_name in _VARIABLES:
        rank = _parsed_rank(environment.get(rank_name))
        if rank is not None:
            size = _parsed_rank(environment.get(size_name)) or 1
            return ProcessRank(rank, max(size, rank + 1))
    return None


def _parsed_rank(text: str | None) -> int | None:
    """Return a rank; None for what is not one: older launchers say -1 for a single process."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
