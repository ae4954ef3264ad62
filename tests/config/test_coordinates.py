"""Which part of a model a process holds, as libraries and users say it."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module
from torch.testing._internal.distributed.fake_pg import FakeStore

from attnmon.config.coordinates import Coordinates, coordinates_of, find_coordinates


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, Coordinates()),
     ({"pp": (1, 2), "tp": (0, 4)}, Coordinates(pipeline=(1, 2), tensor=(0, 4))),
     ({"dp_replicate": (1, 2), "dp_shard": (3, 4)}, Coordinates(data=(7, 8))),
     ({"CP": [1, 2]}, Coordinates(context=(1, 2)))],
)  # fmt: skip
def test_a_mapping_is_understood(given: dict[str, Any], expected: Coordinates) -> None:
    assert coordinates_of(given) == expected


@pytest.mark.parametrize(
    "given", [7, "pp", {"xx": (0, 1)}, {"pp": (2, 2)}, {"pp": 1}, {"pp": (0.0, 1)}]
)
def test_what_is_none_is_refused(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"give|known are"):
        coordinates_of(given)


def test_only_the_first_replica_is_shown() -> None:
    assert Coordinates(tensor=(1, 2)).is_of_first_replica
    assert not Coordinates(data=(1, 2)).is_of_first_replica
    assert not Coordinates(context=(1, 2)).is_of_first_replica


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """A mesh of four processes, of which this is the last; they are not there."""
    dist.init_process_group("fake", store=FakeStore(), rank=3, world_size=4)
    yield init_device_mesh("cpu", (2, 2), mesh_dim_names=("pp", "tp"))
    dist.destroy_process_group()


def test_a_mesh_is_found_and_may_be_given(mesh: DeviceMesh) -> None:
    expected = Coordinates(pipeline=(1, 2), tensor=(1, 2))
    assert coordinates_of(mesh) == find_coordinates() == expected


def test_a_mesh_whose_group_has_ended_says_nothing(mesh: DeviceMesh) -> None:
    dist.destroy_process_group()
    try:
        assert find_coordinates() is None
    finally:
        dist.init_process_group("fake", store=FakeStore(), rank=3, world_size=4)


def test_a_parameter_s_mesh_is_found_as_a_whole(mesh: DeviceMesh) -> None:
    layer = nn.Linear(4, 4)
    parallelize_module(layer, mesh["tp"], ColwiseParallel())
    assert find_coordinates(layer) == Coordinates(pipeline=(1, 2), tensor=(1, 2))


def test_megatron_s_state_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"pipeline_model_parallel": (1, 2), "tensor_model_parallel": (3, 4),
              "context_parallel": (0, 1), "data_parallel": (5, 8)}  # fmt: skip
    state = SimpleNamespace(model_parallel_is_initialized=lambda: True)
    for kind, (at, count) in places.items():
        setattr(state, f"get_{kind}_rank", lambda at=at: at)
        setattr(state, f"get_{kind}_world_size", lambda count=count: count)
    monkeypatch.setitem(sys.modules, "megatron.core.parallel_state", state)
    found = find_coordinates()
    assert found == Coordinates((1, 2), (3, 4), (0, 1), (5, 8))
    assert found.describe() == "pipeline stage 1 of 2, tensor rank 3 of 4"
    del state.get_context_parallel_rank  # an older version
    assert find_coordinates() == found
    del state.model_parallel_is_initialized
    assert find_coordinates() != found  # nor is there a guess
