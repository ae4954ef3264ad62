"""Stops what processes say to each other without an operator that shows it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import get_ident
from typing import Any

_C10D = "torch.distributed.distributed_c10d"
_BACKENDS = "torch._C._distributed_c10d"
_RPC = "torch.distributed.rpc.api"
_PIPES = "multiprocessing.connection"
_UNSEEN: tuple[tuple[str, str, str], ...] = (
    (_C10D, "", "_new_group_with_tag _coalescing_manager init_process_group split_group"),
    (_C10D, "", "destroy_process_group shrink_group"),
    (_C10D, "Store", "set get add wait compare_set append check delete_key num_keys multi_get"),
    (_C10D, "Store", "multi_set barrier queue_push queue_pop list_keys"),
    (_C10D, "ProcessGroup", "_start_coalescing _end_coalescing split_group merge_remote_group"),
    (_BACKENDS, "Backend", "allgather _allgather_base allgather_coalesced allreduce alltoall_base"),
    (
        _BACKENDS,
        "Backend",
        "allreduce_coalesced alltoall barrier broadcast gather monitored_barrier",
    ),
    (
        _BACKENDS,
        "Backend",
        "recv recv_anysource reduce reduce_scatter _reduce_scatter_base scatter",
    ),
    (_BACKENDS, "Backend", "send _start_coalescing _end_coalescing"),
    (_RPC, "", "_invoke_rpc _all_gather _wait_all_workers _barrier"),
    (_PIPES, "_ConnectionBase", "send send_bytes recv recv_bytes recv_bytes_into"),
    ("multiprocessing.queues", "Queue", "get"),
    ("multiprocessing.synchronize", "Barrier", "wait"),
)
"""(module, class in it or "", functions) that communicate and call no operator first."""


@contextmanager
def no_communication(stop: Callable[[str], None]) -> Iterator[None]:
    """Has these functions call `stop`, which raises, on this thread, while the context lasts.

    Collectives and messages between two processes are operators, and are not replaced here.
    """
    with ExitStack() as replaced:
        for module, kind, names in _UNSEEN:
            owner: Any = sys.modules.get(module)
            owner = getattr(owner, kind, None) if kind else owner
            for name in names.split():
                if hasattr(owner, name):
                    replaced.enter_context(_replaced(owner, name, stop))
        yield


@contextmanager
def _replaced(owner: Any, name: str, stop: Callable[[str], None]) -> Iterator[None]:
    function, thread = getattr(owner, name), get_ident()
    before = vars(owner).get(name)  # not what getattr returns: a method, where C++ has made it

    def stopped(*args: Any, **kwargs: Any) -> Any:
        if get_ident() == thread:
            stop(f"would have communicated with other processes ({owner.__name__}.{name})")
        return function(*args, **kwargs)

    setattr(owner, name, stopped)
    try:
        yield
    finally:
        if before is None:
            delattr(owner, name)  # it was inherited
        else:
            setattr(owner, name, before)
