"""Closes file descriptors: one by one, and those that a forked child has copies of."""

import contextlib
import os
import weakref
from typing import Protocol


def close(descriptor: int) -> None:
    """Close it. The system may complain, and has let go of it all the same."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


class DescriptorOwner(Protocol):
    def abandon(self) -> None: ...


_owners: weakref.WeakSet[DescriptorOwner] = weakref.WeakSet()


def abandon_after_fork(owner: DescriptorOwner) -> None:
    """Have `owner.abandon()` called in every child that is forked while the owner is alive.

    A DataLoader worker that kept a copy of the socket would hide the end of the training process
    from the renderer. It closes its copy and does nothing else.
    """
    _owners.add(owner)


def _abandon_all() -> None:
    for owner in list(_owners):
        owner.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
