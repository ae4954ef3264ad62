"""Which process of a distributed training this is, told without asking the others.

No collective, no barrier, no gather: a process that waits for others in a call which they may not
make waits for ever.
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


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """One of `world_size` processes that train together."""

    rank: int = 0
    world_size: int = 1

    @property
    def folder(self) -> str:
        """Where this process writes, when several do."""
        return f"rank_{self.rank:05d}"


def find_process_rank(rank: int | None = None) -> ProcessRank:
    """The rank given, else that of torch.distributed, else the launcher's variables, else 0.

    The number of processes is never said by the caller: it is found, and at least rank + 1.
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
    """A rank; None for what is none: older launchers say -1 for a single process."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
