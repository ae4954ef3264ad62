"""Which positions are padding: as the batch's masks say it, and as the user does."""

from typing import Any

import pytest
import torch
from torch import nn

from attnmon.capture import GivenInputs
from attnmon.layers.layer_numbering import ROLES
from attnmon.serialize.sample_padding import given_padding, padding_in

IDS = torch.arange(12).reshape(3, 4)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
HIDDEN = [False, False, True, True]
BOTH = frozenset(ROLES.values())
DECODER = frozenset([ROLES["decoder_self"]])


def given(*args: Any, **kwargs: Any) -> GivenInputs:
    return GivenInputs.of_call(nn.Identity(), args, kwargs)


def lists(pair: Any) -> list[Any]:
    return [None if row is None else row.tolist() for row in pair]


def test_masks_of_a_batch_are_understood() -> None:
    one = padding_in(given(input_ids=IDS, attention_mask=MASK), 1, 0)
    assert lists(one.of_stacks(BOTH)) == [HIDDEN, None]
    assert lists(one.of_stacks(DECODER)) == [None, HIDDEN]
    own = padding_in(given(src_key_padding_mask=MASK == 0, tgt_key_padding_mask=MASK == 0), 1, 0)
    assert lists(own.of_stacks(BOTH)) == [HIDDEN, HIDDEN]
    turned = padding_in(given(input_ids=IDS.T, attention_mask=MASK.T), 1, 1)
    assert lists(turned.of_stacks(DECODER)) == [None, HIDDEN]


@pytest.mark.parametrize(
    "mask", [None, MASK[0], MASK[:, None], torch.zeros(0, 4), MASK.tolist(), MASK.to_sparse()]
)
def test_other_masks_say_nothing(mask: Any) -> None:
    assert not padding_in(given(input_ids=IDS, attention_mask=mask), 0, 0).is_known
    assert not padding_in(None, 0, 0).is_known


def test_a_decoder_that_is_given_tokens_is_known() -> None:
    images = torch.rand(3, 4)
    assert padding_in(given(IDS), 0, 0).decoder_reads_ids(DECODER)
    assert padding_in(given(IDS, IDS), 0, 0).decoder_reads_ids(BOTH)
    assert padding_in(given(input_ids=IDS, labels=IDS), 0, 0).decoder_reads_ids(BOTH)
    assert not padding_in(given(images), 0, 0).decoder_reads_ids(DECODER)
    assert not padding_in(given(IDS, attention_mask=MASK), 0, 0).decoder_reads_ids(BOTH)


def test_what_the_user_says_is_taken_of_the_same_sample() -> None:
    assert lists(given_padding(MASK == 0, 1).of_stacks(DECODER)) == [None, HIDDEN]
    assert lists(given_padding((None, MASK == 0), 1).of_stacks(BOTH)) == [None, HIDDEN]
    with pytest.raises(TypeError, match="True where there is padding"):
        given_padding(MASK, 1)
