"""Batches are told apart by what is in them, and by nothing else."""

from collections import UserDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from attnmon.capture.model.fingerprint import LENGTH, fingerprint

IDS = torch.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (IDS, IDS.clone()),
        (IDS, IDS.T.contiguous().T),
        ({"a": IDS, "b": 1}, {"b": 1, "a": IDS}),
        (UserDict({"ids": IDS}), UserDict({"ids": IDS.clone()})),
        (SimpleNamespace(ids=IDS), SimpleNamespace(ids=IDS.clone())),
        ((IDS, None), (IDS, None)),
        (np.arange(6).reshape(2, 3), IDS),
        (torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor(1.5, dtype=torch.bfloat16)),
    ],
)
def test_equal_batches_have_one_fingerprint(one: Any, same: Any) -> None:
    found = fingerprint(one)
    assert found is not None
    assert len(found) == LENGTH
    assert found == fingerprint(same)


def test_what_differs_in_a_value_a_form_a_name_or_a_kind_has_another() -> None:
    batches: list[Any] = [
        IDS, IDS + 1, IDS.reshape(3, 2), IDS.int(), (IDS, IDS), (IDS,),
        {"a": IDS}, {"b": IDS}, {"a": IDS, "b": 1}, {"a": IDS, "b": 2}, {"a": IDS, "b": "1"},
        torch.arange(0),
    ]  # fmt: skip
    found = [fingerprint(batch) for batch in batches]
    assert None not in found
    assert len(set(found)) == len(batches)


def test_what_cannot_be_read_has_none() -> None:
    class Spread(torch.Tensor):
        pass

    assert fingerprint(IDS.float().as_subclass(Spread)) is None
    assert fingerprint({"a": torch.empty(3, device="meta")}) is None
    assert fingerprint(torch.eye(3).to_sparse()) is None
