"""Attention that the user gives: held until the step is logged, and copied by others."""

import pytest
import torch
from support.collecting import any_call

from attnmon.collector.manual_attention import ManualAttention


def test_a_name_given_several_times_is_so_many_layers() -> None:
    manual = ManualAttention(sample=0)
    for name in ("a", "b", "a"):
        manual.add(any_call(name), None)
    assert [key for key, _ in manual.samples()] == [("a", 0), ("b", 0), ("a", 1)]
    assert [info.name for _, info in manual.call_infos()] == ["a", "b", "a"]


def test_one_sample_is_given_on_or_the_last_there_is() -> None:
    call = any_call("a", batch=3)
    assert call.query is not None
    for asked, given in ((1, 1), (9, 2)):
        manual = ManualAttention(sample=asked)
        manual.add(call, None)
        [(_, sample)] = manual.samples()
        assert sample.query is not None
        assert torch.equal(sample.query, call.query[given])


def test_what_was_written_to_since_carries_a_note() -> None:
    manual, call = ManualAttention(sample=0), any_call("a")
    manual.add(call, None)
    assert call.key is not None
    call.key.add_(1)
    [(_, sample)] = manual.samples()
    assert sample.note == "changed in place after it was recorded"


def test_roles_outlive_the_step_and_calls_do_not() -> None:
    manual = ManualAttention(sample=0)
    manual.add(any_call("a"), "encoder_self")
    manual.clear()
    assert list(manual.samples()) == []
    assert manual.roles == {"a": "encoder_self"}
    with pytest.raises(ValueError, match="role"):
        manual.add(any_call("a"), "encoder_cross")
