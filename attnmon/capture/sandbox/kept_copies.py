"""Copies of memory and generators that a forward may change without an operator to show it."""

import torch
from torch import Tensor, UntypedStorage

from attnmon.capture.sandbox.own_memory import storages_of

MOST_KEPT_BYTES = 1 << 28
"""How many bytes of one storage are copied at most."""


class KeptCopies:
    """Storages and generators as they were when the forward first got hold of them."""

    def __init__(self) -> None:
        self._storages: dict[int, tuple[UntypedStorage, UntypedStorage]] = {}
        self._generators: dict[int, tuple[torch.Generator, Tensor]] = {}

    def keep(self, tensor: Tensor) -> bool:
        """Keeps a copy of the tensor's memory. False if it is too large for that."""
        storages = storages_of(tensor)
        if any(storage.nbytes() > MOST_KEPT_BYTES for storage in storages):
            return False
        for storage in storages:
            if storage._cdata not in self._storages:
                self._storages[storage._cdata] = (storage, _copy(storage))
        return True

    def keep_generator(self, generator: torch.Generator) -> None:
        """Keeps the state of a random generator."""
        if id(generator) not in self._generators:
            self._generators[id(generator)] = (generator, generator.get_state())

    def put_back(self) -> None:
        """Writes back the bytes and the states that differ from what was kept."""
        for storage, before in self._storages.values():
            if storage.nbytes() == before.nbytes() and not torch.equal(
                *map(_bytes, (storage, before))
            ):
                storage.copy_(before)
        for generator, state in self._generators.values():
            generator.set_state(state)


def _copy(storage: UntypedStorage) -> UntypedStorage:
    return storage.clone()  # type: ignore[no-any-return]


def _bytes(storage: UntypedStorage) -> Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
