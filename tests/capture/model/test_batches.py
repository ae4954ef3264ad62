"""How many samples inputs hold, and whether one can be cut out of them."""

from collections import UserDict
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from attnmon.capture import model_call
from attnmon.capture.model.batches import batch_size, can_be_cut

X, Y = torch.arange(12.0).view(3, 4), torch.arange(15.0).view(3, 5)


@dataclass
class Record:
    ids: Tensor
    note: str = "train"


def images(*sizes: int) -> list[Tensor]:
    return [torch.zeros(5, size, size) for size in sizes]


GRAPHS = SimpleNamespace(
    x=torch.zeros(9, 4), edge_index=torch.zeros(2, 20), batch=torch.arange(9) // 3
)


@pytest.mark.parametrize(
    ("inputs", "size", "cut"),
    [
        ((X, Y), 3, True),
        ({"x": X, "flag": True, "scale": 2.0}, 3, True),
        ((torch.zeros(9, 4), X), 9, True),
        ((X, Record(Y)), 3, True),
        ((X, UserDict(ids=Y)), 3, True),
        ((X.numpy(), {"ids": Y.numpy()}), 3, True),
        ((X, [Y, X]), 3, True),
        ((X, SimpleNamespace(ids=Y)), 3, True),
        (Record(Y), 3, True),
        ((GRAPHS,), None, False),
        ((X, GRAPHS), 3, False),
        ((images(8, 6, 7),), None, False),
        ((X, images(8, 6, 7)), 3, False),
        ((X, [torch.zeros(4), torch.zeros(2), torch.zeros(7)]), 3, False),
        (([X, Y],), None, False),
        (([np.zeros(4), np.zeros(2)],), None, False),
        ((X, ["a text", "another", "a third"]), 3, False),
        ((X, ["two", "options"]), 3, True),
        ((X, Record(torch.zeros(7, 4))), 3, False),
        ((pack_padded_sequence(X[..., None], torch.tensor([4, 3, 1]), True),), None, False),
    ],
)
def test_the_number_of_samples_and_whether_one_can_be_cut_out(
    inputs: Any, size: int | None, cut: bool
) -> None:
    assert batch_size(inputs, 0) == size
    assert can_be_cut(inputs, 0, size or 0) == cut


def test_nested_tensors_are_not_cut() -> None:
    nested = torch.nested.nested_tensor([torch.zeros(2, 4), torch.zeros(3, 4)], layout=torch.jagged)
    assert not can_be_cut((nested,), 0, 2)


class Anything(nn.Module):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs


def test_one_sample_is_cut_out_of_each_kind() -> None:
    given = (X, Record(Y), UserDict(ids=Y), X.numpy(), SimpleNamespace(deep=[Y, {"x": X}]))
    call = model_call(Anything(), given, sample=1)
    tensor, record, words, array, space = call.args
    assert (call.is_whole, call.index_given, call.samples_given) == (False, 0, 1)
    assert torch.equal(tensor, X[1:2])
    assert torch.equal(record.ids, Y[1:2])
    assert record.note == "train"
    assert torch.equal(words["ids"], Y[1:2])
    assert (array == X.numpy()[1:2]).all()
    assert torch.equal(space.deep[1]["x"], X[1:2])


def test_what_cannot_be_cut_is_given_whole() -> None:
    call = model_call(Anything(), (X, GRAPHS), sample=1)
    assert (call.is_whole, call.index_given, call.samples_given) == (True, 1, 3)
    assert call.args[0] is X
    assert call.args[1] is GRAPHS
    call = model_call(Anything(), (GRAPHS,), sample=7)
    assert (call.is_whole, call.index_given, call.samples_given) == (True, 7, 0)
