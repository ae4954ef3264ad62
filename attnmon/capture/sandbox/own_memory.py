"""Tells the memory that a forward has allocated itself from memory that was there before."""

from torch import Tensor, UntypedStorage, layout, sparse_coo, strided
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

Storages = tuple[UntypedStorage, ...]


class OwnMemory:
    """The storages that were made since the forward began, whether or not they are alive.

    They are held weakly, so that their memory is freed as ever. A weak reference keeps the
    storage's address from being given to another one, so that no address is mistaken.
    """

    def __init__(self) -> None:
        self._made: dict[int, StorageWeakRef] = {}

    def add(self, tensor: Tensor) -> None:
        """Takes this tensor's memory for the forward's own."""
        for storage in storages_of(tensor):
            self._made[storage._cdata] = StorageWeakRef(storage)

    def has(self, tensor: Tensor) -> bool:
        """Returns whether the forward has made all of this tensor's memory."""
        return all(storage._cdata in self._made for storage in storages_of(tensor))


def storages_of(tensor: Tensor) -> Storages:
    """Returns the storages of a tensor: of its parts if it is sparse, or wraps other tensors.

    Empty for a layout that has no storage (oneDNN's).
    """
    if _wraps_others(tensor):
        names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
        parts = [getattr(tensor, name) for name in names]
    elif tensor.layout == strided:
        return (tensor.untyped_storage(),)
    else:
        parts = _sparse_parts(tensor, tensor.layout)
    return tuple(storage for part in parts for storage in storages_of(part))


def _wraps_others(tensor: Tensor) -> bool:
    return is_traceable_wrapper_subclass(tensor)


def _sparse_parts(tensor: Tensor, kind: layout) -> list[Tensor]:
    if kind == sparse_coo:
        return [tensor._indices(), tensor._values()]
    names = ("crow_indices", "col_indices", "ccol_indices", "row_indices", "values")
    row_wise = str(kind) in ("torch.sparse_csr", "torch.sparse_bsr")
    column_wise = str(kind) in ("torch.sparse_csc", "torch.sparse_bsc")
    chosen = names[:2] if row_wise else names[2:4]
    return [getattr(tensor, n)() for n in (*chosen, "values")] if row_wise or column_wise else []
