"""Finds which part of a model a process holds, where that is split, without asking the others.

Coordinates are taken from PyTorch's DeviceMesh, from Megatron's parallel state, or from the user.
No collective is called.
"""

import gc
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import nn

Coordinate = tuple[int, int]
"""The index of a process along one dimension, and how many there are."""
ALONE: Coordinate = (0, 1)

_NAMES = {
    "pipeline": ("pp", "pipe", "pipeline", "stage"),
    "tensor": ("tp", "tensor", "model", "mp"),
    "context": ("cp", "context", "sp", "sequence"),
    "data": ("dp", "data", "dp_replicate", "dp_shard", "fsdp", "hsdp", "replicate", "shard", "ddp",
             "batch", "ep", "expert"),
}  # fmt: skip
"""What the dimensions are called, by what is split along them."""
_MEGATRON = "megatron.core.parallel_state"
_MESH = "torch.distributed.device_mesh"


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The place of a process among those that hold a model together."""

    pipeline: Coordinate = ALONE
    """Stage of the pipeline: which layers it has."""
    tensor: Coordinate = ALONE
    """Which heads of each layer it has."""
    context: Coordinate = ALONE
    """Which part of the sequence it has."""
    data: Coordinate = ALONE
    """Which replica of the model it is a part of."""

    @property
    def is_of_first_replica(self) -> bool:
        """Whether it is one of the processes that hold the replica that is shown."""
        return self.data[0] == 0 and self.context[0] == 0

    @property
    def holds_a_part(self) -> bool:
        """Whether it holds some of the model's layers or heads only."""
        return self.pipeline[1] > 1 or self.tensor[1] > 1

    def describe(self) -> str:
        """Return the place in words: "pipeline stage 1 of 2, tensor rank 0 of 4"."""
        named = [("pipeline stage", self.pipeline), ("tensor rank", self.tensor),
                 ("context rank", self.context)]  # fmt: skip
        return ", ".join(f"{name} {at} of {count}" for name, (at, count) in named if count > 1)


def coordinates_of(given: Any) -> Coordinates:
    """Return the coordinates that a user gave: a DeviceMesh, or a mapping such as {"pp": (0, 2)}.

    Raises ValueError or TypeError for a dimension that is not known.
    """
    if _is_mesh(given):
        return _from_mesh(given)
    if not isinstance(given, Mapping):
        raise TypeError(
            "give a DeviceMesh with names, or a mapping of a dimension's name to (index, size), "
            'such as {"pp": (0, 2), "tp": (1, 4), "dp": (0, 8)}'
        )
    dimensions = {}
    for name, place in given.items():
        at, count = place if isinstance(place, tuple | list) and len(place) == 2 else (-1, 0)
        if not (type(at) is int and type(count) is int and 0 <= at < count):
            raise ValueError(f"{name!r}: {place!r}: give (index, size), with 0 <= index < size")
        dimensions[str(name)] = (at, count)
    return _named(dimensions)


def find_coordinates(model: nn.Module | None = None) -> Coordinates | None:
    """Return the coordinates of this process, as its libraries know them; None if none does.

    Args:
        model: looked at for parameters that know their mesh.
    """
    if (megatron := _from_megatron()) is not None:
        return megatron
    mesh = None if model is None else _mesh_of(model)
    mesh = mesh or _largest_mesh()
    try:
        return None if mesh is None else _from_mesh(mesh)
    except ValueError:
        return None


def _from_megatron() -> Coordinates | None:
    state = sys.modules.get(_MEGATRON)
    is_initialized = getattr(state, "model_parallel_is_initialized", lambda: False)
    if not is_initialized():
        return None

    def place(kind: str) -> Coordinate:
        try:
            rank = getattr(state, f"get_{kind}_rank")()
            return int(rank), int(getattr(state, f"get_{kind}_world_size")())
        except (AttributeError, AssertionError):  # this version has no such dimension, or group
            return ALONE

    return Coordinates(
        place("pipeline_model_parallel"), place("tensor_model_parallel"),
        place("context_parallel"), place("data_parallel"),
    )  # fmt: skip


def _mesh_of(model: nn.Module) -> Any:
    """Return the whole mesh that a model's parameters are spread over; None if they are on none."""
    for parameter in model.parameters():
        mesh = getattr(parameter, "device_mesh", None)
        if _is_mesh(mesh):
            return _root(mesh)
    return None


def _largest_mesh() -> Any:
    """Return the mesh with the most dimensions that the program has made; None if there is none.

    One may outlive its processes' group: it says nothing any more.
    """
    if _MESH not in sys.modules or not (dist.is_available() and dist.is_initialized()):
        return None
    found = [each for each in gc.get_objects() if _is_mesh(each)]
    return max(found, key=lambda mesh: mesh.ndim, default=None)


def _is_mesh(value: Any) -> bool:
    module = sys.modules.get(_MESH)
    return module is not None and type(value) is module.DeviceMesh and bool(value.mesh_dim_names)


def _root(mesh: Any) -> Any:
    root = getattr(mesh, "_get_root_mesh", lambda: mesh)()
    return root if _is_mesh(root) else mesh


def _from_mesh(mesh: Any) -> Coordinates:
    places = mesh.get_coordinate()
    if places is None:
        raise ValueError("this process is not in the DeviceMesh")
    sizes = mesh.shape
    return _named(dict(zip(mesh.mesh_dim_names, zip(places, sizes, strict=True), strict=True)))


def _named(dimensions: Mapping[str, Coordinate]) -> Coordinates:
    """Return coordinates from dimensions by their usual names; several of one kind are one."""
    found = dict.fromkeys(_NAMES, ALONE)
    for name, (at, count) in dimensions.items():
        kind = next((kind for kind, names in _NAMES.items() if name.lower() in names), None)
        if kind is None:
            known = ", ".join(repr(name) for names in _NAMES.values() for name in names)
            raise ValueError(f"a dimension is called {name!r}; known are {known}")
        found[kind] = (found[kind][0] * count + at, found[kind][1] * count)
    return Coordinates(**found)
