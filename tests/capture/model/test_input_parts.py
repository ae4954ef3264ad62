"""Inputs of every kind: their tensors are found, and a copy is of the same kind and shares none."""

import types
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BatchEncoding
from transformers.modeling_outputs import BaseModelOutput

from attnmon.capture.model.input_parts import copy_of, leaves_of, with_leaves

X = torch.arange(12.0).view(3, 4)
Y = torch.arange(15.0).view(3, 5)


class Named(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class Record:
    x: Tensor
    y: Tensor
    note: str = "train"

    def __post_init__(self) -> None:
        self.made = getattr(Record, "made_so_far", 0)
        Record.made_so_far = self.made + 1  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Tensor
    y: Tensor


@attrs.frozen
class Attrs:
    x: Tensor
    y: Tensor


class Slots:
    __slots__ = ("x", "y")

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


class Store:
    """As graph libraries keep it: in a dict inside an object inside the object."""

    def __init__(self, **tensors: Tensor) -> None:
        self.mapping = tensors


class Graph:
    def __init__(self, x: Tensor, y: Tensor) -> None:
        vars(self)["store"] = Store(x=x, y=y)

    def __getattr__(self, name: str) -> Any:
        try:
            return vars(self)["store"].mapping[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self)["store"].mapping[name] = value


class ByKey:
    """No mapping, but read like one."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.inner = {"x": x, "y": y}

    def keys(self) -> Any:
        return self.inner.keys()

    def __getitem__(self, key: str) -> Tensor:
        return self.inner[key]


class AttributeDict(dict[str, Any]):
    def __init__(self, **items: Any) -> None:
        super().__init__(items)
        self.__dict__ = self


class Words(UserDict[str, Any]):
    pass


class Own(Tensor):
    """A class of the user's own."""


KINDS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], tuple[Any, Any]]]] = {
    "tuple": (lambda x, y: (x, y), lambda value: (value[0], value[1])),
    "list": (lambda x, y: [x, [y]], lambda value: (value[0], value[1][0])),
    "deque": (lambda x, y: deque([x, y]), lambda value: (value[0], value[1])),
    "dict": (lambda x, y: {"x": x, 3: {"y": y}}, lambda value: (value["x"], value[3]["y"])),
    "ordered dict": (
        lambda x, y: OrderedDict(x=x, y=y),
        lambda value: (value["x"], value["y"]),
    ),
    "attribute dict": (
        lambda x, y: AttributeDict(x=x, y=y),
        lambda value: (value.x, value["y"]),
    ),
    "user dict": (lambda x, y: Words(x=x, y=y), lambda value: (value["x"], value["y"])),
    "tokenizer's": (lambda x, y: BatchEncoding({"x": x, "y": y}), lambda v: (v.x, v["y"])),
    "model's output": (
        lambda x, y: BaseModelOutput(last_hidden_state=x, hidden_states=(y,)),
        lambda value: (value.last_hidden_state, value["hidden_states"][0]),
    ),
    "named tuple": (Named, lambda value: (value.x, value.y)),
    "dataclass": (Record, lambda value: (value.x, value.y)),
    "frozen": (Frozen, lambda value: (value.x, value.y)),
    "attrs": (Attrs, lambda value: (value.x, value.y)),
    "slots": (Slots, lambda value: (value.x, value.y)),
    "namespace": (lambda x, y: types.SimpleNamespace(x=x, y=y), lambda v: (v.x, v.y)),
    "graph": (Graph, lambda value: (value.x, value.y)),
    "read by key": (ByKey, lambda value: (value["x"], value["y"])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_of_the_same_kind_and_shares_no_tensor(kind: str) -> None:
    make, read = KINDS[kind]
    x, y = X.clone(), Y.clone()
    given = make(x, y)
    assert {id(leaf) for leaf in leaves_of(given)} == {id(x), id(y)}
    copied = with_leaves(given, lambda leaf, _: copy_of(leaf))
    assert type(copied) is type(given)
    for part, expected in zip(read(copied), (X, Y), strict=True):
        assert torch.equal(part, expected)
        part.zero_()
    for leaf in leaves_of(copied):
        leaf.add_(1)
    for part, expected in zip(read(given), (X, Y), strict=True):
        assert torch.equal(part, expected)


def test_no_constructor_runs_for_a_copy() -> None:
    record = Record(X, Y)
    assert with_leaves(record, lambda leaf, _: copy_of(leaf)).made == record.made


def test_a_container_that_the_copy_changes_stays_as_it_was() -> None:
    batch = {"x": X, "inner": [Y], "label": "a"}
    copied = with_leaves(batch, lambda leaf, _: leaf)
    copied.pop("label")
    copied["inner"].append(3)
    assert batch == {"x": X, "inner": [Y], "label": "a"}


def test_what_is_given_twice_stays_one_thing() -> None:
    shared = [X]
    one, other, tensor = with_leaves((shared, shared, X), lambda leaf, _: copy_of(leaf))
    assert one is other
    assert one[0] is tensor


def test_cycles_and_what_refers_back_end() -> None:
    parent = types.SimpleNamespace(x=X)
    parent.child = types.SimpleNamespace(parent=parent, y=Y)
    copied = with_leaves(parent, lambda leaf, _: copy_of(leaf))
    assert copied.child.parent is copied
    assert copied.child.y is not Y


def test_modules_and_resources_are_handed_on() -> None:
    module = nn.Linear(2, 2)
    given = {"module": module, "function": print, "text": "a", "x": X}
    copied = with_leaves(given, lambda leaf, _: copy_of(leaf))
    assert copied["module"] is module
    assert list(leaves_of(module)) == []


@pytest.mark.parametrize(
    "tensor",
    [
        X.as_subclass(Own), X.T, X[:, ::2], X[:1].expand(3, 4), torch.eye(3).to_sparse(),
        X.to(torch.bfloat16), X > 3, torch.tensor(1.5), torch.zeros(0, 3),
    ],
    ids=str,
)  # fmt: skip
def test_a_copied_tensor_has_its_class_form_and_values(tensor: Tensor) -> None:
    new = copy_of(tensor)
    assert type(new) is type(tensor)
    assert (new.shape, new.dtype, new.layout) == (tensor.shape, tensor.dtype, tensor.layout)
    assert torch.equal(new.to_dense(), tensor.to_dense())


def test_a_copied_tensor_keeps_its_flag_and_attributes() -> None:
    tensor: Any = X.clone().requires_grad_()
    tensor.lengths = [4, 4, 4]
    new = copy_of(tensor)
    assert new.requires_grad
    assert new.is_leaf
    assert new.lengths == [4, 4, 4]


def test_arrays_are_leaves_too() -> None:
    class Array(np.ndarray):
        pass

    array = np.ones((3, 2), dtype=np.float32).view(Array)
    [found] = leaves_of({"a": [array]})
    assert found is array
    new = copy_of(array)
    assert type(new) is Array
    assert not np.shares_memory(new, array)


def test_a_packed_sequence_stays_one() -> None:
    packed = pack_padded_sequence(X[..., None], torch.tensor([4, 3, 1]), batch_first=True)
    copied = with_leaves(packed, lambda leaf, _: copy_of(leaf))
    assert type(copied) is type(packed)
    assert torch.equal(copied.data, packed.data)
    assert copied.data.data_ptr() != packed.data.data_ptr()
