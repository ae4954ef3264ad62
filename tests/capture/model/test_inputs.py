"""From what the user logs to the call of one sample: compared with the call on the whole batch."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from attnmon.capture import InputError, model_call

X, Y = torch.arange(12.0).view(3, 4), torch.arange(15.0).view(3, 5)


class Anything(nn.Module):
    """Returns what it was called with."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs


def called(enc: Any, dec: Any = None, **options: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return model_call(Anything(), enc, dec, **options)()  # type: ignore[return-value]


def test_tensors_are_positional_and_cut_to_the_sample() -> None:
    args, kwargs = called(X, Y, sample=1)
    assert kwargs == {}
    assert [tensor.tolist() for tensor in args] == [X[1:2].tolist(), Y[1:2].tolist()]
    assert called(X)[0][0].shape == (1, 4)


def test_tuples_come_one_after_the_other_and_mappings_by_name() -> None:
    args, kwargs = called((X, 7), {"y": Y, "flag": True}, sample=2)
    assert args[0].tolist() == X[2:3].tolist()
    assert args[1:] == (7,)
    assert kwargs["y"].tolist() == Y[2:3].tolist()
    assert kwargs["flag"] is True


def test_a_hugging_face_batch_with_labels_and_a_decoder_tensor() -> None:
    batch = {"input_ids": X, "attention_mask": torch.ones(3, 3), "labels": X, "scale": 2.0}
    _, kwargs = called(batch, Y, sample=1)
    assert kwargs["decoder_input_ids"].tolist() == Y[1:2].tolist()
    assert kwargs["labels"].tolist() == X[1:2].tolist()
    assert kwargs["attention_mask"].shape == (1, 3)
    assert kwargs["scale"] == 2.0


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


def test_nested_inputs_keep_their_form() -> None:
    args, _ = called((X, [Y, {"deep": Y}], Pair(X, Y)), sample=1)
    assert args[1][0].shape == (1, 5)
    assert args[1][1]["deep"].shape == (1, 5)
    assert isinstance(args[2], Pair)


def test_tensors_without_the_batch_dimension_are_shared() -> None:
    args, _ = called((X, torch.tensor(3.0), torch.zeros(9, 4)), sample=1)
    assert args[1].shape == ()
    assert args[2].shape == (9, 4)


def test_a_sample_beyond_the_batch_is_its_last_and_says_so() -> None:
    call = model_call(Anything(), X, sample=9)
    assert (call.sample, call.batch) == (2, 3)
    assert call.args[0].tolist() == X[2:3].tolist()


def test_sequence_first_with_padding_and_lengths() -> None:
    """[positions, batch, width]; lengths and padding have the batch first all the same."""
    source, lengths = torch.zeros(7, 3, 4), torch.tensor([7, 5, 6])
    padding = torch.zeros(3, 3, dtype=torch.bool)
    padding[2] = True
    args, kwargs = called(
        (source, lengths), {"src_key_padding_mask": padding}, batch_dim=1, sample=2
    )
    assert args[0].shape == (7, 1, 4)
    assert args[1].tolist() == [6]
    assert kwargs["src_key_padding_mask"].tolist() == [[True] * 3]


def test_masks_for_all_samples_are_not_cut() -> None:
    """Also where as many positions as samples make them look like one row a sample."""
    model = nn.Transformer(8, 2, 1, 1, 8, batch_first=True)
    source, target, mask = torch.randn(4, 6, 8), torch.randn(4, 4, 8), torch.zeros(4, 4)
    masks = {"memory_mask": torch.zeros(4, 6), "tgt_mask": mask}
    call = model_call(model, (source, target, torch.zeros(6, 6)), masks, sample=1)
    assert [tensor.shape[0] for tensor in call.args] == [1, 1, 6]
    assert call.kwargs["memory_mask"].shape == (4, 6)
    assert call.kwargs["tgt_mask"] is mask
    call()


def test_a_mask_with_heads_folded_into_the_batch() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    mask = torch.randn(3 * 2, 5, 5)
    x = torch.randn(3, 5, 8)
    whole = attention(x, x, x, attn_mask=mask)[0]
    call = model_call(attention, x, {"attn_mask": mask}, sample=2)
    call.kwargs["key"] = call.kwargs["value"] = call.args[0]
    torch.testing.assert_close(call()[0], whole[2:])  # type: ignore[index]


@pytest.mark.parametrize("dec", [None, torch.randn(3, 5, 8)])
def test_multihead_attention_itself(dec: Tensor | None) -> None:
    """One tensor attends to itself; the decoder's attends to the encoder's."""
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    enc = torch.randn(3, 7, 8)
    query = enc if dec is None else dec
    expected = attention(query, enc, enc)[0][1:2]
    result = model_call(attention, enc, dec, sample=1)()
    torch.testing.assert_close(result[0], expected)  # type: ignore[index]


def test_a_way_of_calling_of_the_users_own() -> None:
    model = Anything()
    seen = model_call(model, X, {"a": Y}, sample=1, forward_fn=lambda m, enc, dec: (m, enc, dec))()
    assert seen[0] is model  # type: ignore[index]
    assert seen[1].tolist() == X[1:2].tolist()  # type: ignore[index]
    assert seen[2]["a"].shape == (1, 5)  # type: ignore[index]


def test_inputs_without_a_batch_are_given_whole() -> None:
    assert called(X, batch_dim=None)[0][0] is X


@pytest.mark.parametrize(
    ("enc", "message"),
    [("text", "no tensor with a dimension 0"), (torch.zeros(0, 4), "the batch is empty")],
)
def test_inputs_that_cannot_be_read_are_named(enc: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model_call(Anything(), enc)
