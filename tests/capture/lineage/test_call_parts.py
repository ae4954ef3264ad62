"""Samples that are inputs of their own, packed samples, and modules called once for each part."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import NotDivisible, Tap, discover, module_names
from attnmon.capture.calls.verification import attention_weights
from attnmon.capture.layouts import FollowedLayouts
from attnmon.capture.lineage.call_parts import CallParts

BATCH, LENGTH, HEADS, EACH, WIDTH = 3, 6, 2, 5, 10


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(WIDTH, HEADS * EACH), nn.Linear(WIDTH, HEADS * EACH)

    def forward(self, x: Tensor) -> Tensor:
        query, key = (
            layer(x).unflatten(-1, (HEADS, EACH)).transpose(-2, -3)
            for layer in (self.query, self.key)
        )
        return F.scaled_dot_product_attention(query, key, key)


class Model(nn.Module):
    """A model with one attention, called in a way that is given to it."""

    def __init__(self, forward: Callable[..., object]) -> None:
        super().__init__()
        self.attention = Attending()
        self.call = forward

    def forward(self, *inputs: object) -> object:
        return self.call(self.attention, *inputs)


def followed(model: nn.Module, *inputs: object, batch_dim: int | None = 0) -> TapLog:
    log = TapLog()
    leaves = [each for value in inputs for each in (value if isinstance(value, list) else [value])]
    with Tap(module_names(model), log, layouts=FollowedLayouts(tuple(leaves), batch_dim)):
        model(*inputs)
    return log


def stacked(attend: nn.Module, samples: Sequence[Tensor]) -> object:
    return attend(torch.stack(list(samples)))


def one_by_one(attend: nn.Module, samples: Sequence[Tensor]) -> object:
    return [attend(sample) for sample in samples]


def packed(attend: nn.Module, rows: Tensor, sizes: Tensor) -> object:
    return torch.cat([attend(part) for part in rows.split(sizes.tolist())], 1)


def frame_by_frame(attend: nn.Module, video: Tensor) -> object:
    return [attend(frame) for frame in video.unbind(1)]


@pytest.mark.parametrize("batch_dim", [0, None])
def test_tensors_of_a_list_that_are_stacked_are_its_samples(batch_dim: int | None) -> None:
    torch.manual_seed(0)
    model, samples = Model(stacked), [torch.randn(LENGTH, WIDTH) for _ in range(BATCH)]
    (call,) = followed(model, samples, batch_dim=batch_dim).calls
    assert (call.batch, call.heads) == (BATCH, HEADS)
    assert call.note == "its samples are separate inputs of the model"
    query, key = (
        layer(samples[1]).double().unflatten(-1, (HEADS, EACH))
        for layer in (model.attention.query, model.attention.key)
    )
    expected = (torch.einsum("nhd,mhd->hnm", query, key) / math.sqrt(EACH)).softmax(-1)
    found = attention_weights(call.of_sample(1), dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected.detach(), atol=1e-6, rtol=0)


def test_a_tuple_of_samples_is_not_shown_by_an_extra_forward_as_windows_of_one() -> None:
    samples = tuple(torch.randn(BATCH, LENGTH, WIDTH))
    with pytest.raises(NotDivisible):
        discover(Model(stacked), (samples,), None, sample=1)


ROWS, SIZES = torch.randn(BATCH * LENGTH, WIDTH), torch.tensor([4, 8, 6])


@pytest.mark.parametrize("batch_dim", [0, None])
@pytest.mark.parametrize(
    ("way", "inputs"),
    [
        (one_by_one, ([*torch.randn(BATCH, LENGTH, WIDTH)],)),
        (packed, (ROWS, SIZES)),
        (frame_by_frame, (torch.randn(BATCH, 4, LENGTH, WIDTH),)),
    ],
)
def test_calls_of_one_module_for_parts_of_the_inputs_are_no_layers(
    way: Callable[..., object], inputs: tuple[object, ...], batch_dim: int | None
) -> None:
    log = followed(Model(way), *inputs, batch_dim=batch_dim)
    refused = {index for _, index in log.refused}
    assert {call.call_index for call in log.calls} <= refused
    assert "each time for another part of the inputs" in log.reasons[-1]


def test_an_extra_forward_of_packed_samples_is_not_made() -> None:
    with pytest.raises(NotDivisible):
        discover(Model(packed), (ROWS, SIZES), None, sample=1)


def test_a_module_that_is_called_again_for_the_same_places_is_a_layer_each_time() -> None:
    def twice(attend: nn.Module, x: Tensor) -> object:
        return attend(attend(x).transpose(1, 2).flatten(2))

    log = followed(Model(twice), torch.randn(BATCH, LENGTH, WIDTH))
    assert ([call.call_index for call in log.calls], log.unsupported) == ([0, 1], [])
    assert CallParts().divided == set()


def test_samples_that_stand_behind_each_other_in_one_map_are_refused_with_that_reason() -> None:
    mask = torch.block_diag(*torch.ones(BATCH, LENGTH, LENGTH)).bool()

    def in_one_map(model: nn.Module, x: Tensor) -> object:
        rows = x.flatten(0, 1)[None]
        return F.scaled_dot_product_attention(rows, rows, rows, attn_mask=mask)

    log = followed(Model(in_one_map), torch.randn(BATCH, LENGTH, WIDTH))
    assert log.calls == []
    assert "one map seems to hold several places of the inputs' dimension 0" in log.reasons[0]


def test_views_of_a_batch_in_a_list_are_not_taken_for_its_samples() -> None:
    views = [torch.randn(BATCH, LENGTH, WIDTH) for _ in range(2)]
    model = Model(lambda attend, views: attend(torch.cat(views)))
    log = TapLog()
    unknown = FollowedLayouts(tuple(views), 0, has_batch=False)
    with Tap(module_names(model), log, layouts=unknown):
        model(views)
    (call,) = log.calls
    assert (call.layout, call.batch) == (None, 2 * BATCH)
    (known,) = followed(model, views).calls
    assert known.layout is not None
    assert (known.layout.samples, known.layout.windows) == (BATCH, 2)
