"""Labels follow each kind of torch function: against what the same function does to indices."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attnmon.capture.lineage.contraction import factors_of
from attnmon.capture.lineage.element_labels import UNKNOWN, compact, reshaped
from attnmon.capture.lineage.function_calls import base_name
from attnmon.capture.lineage.movement import replayed_labels
from attnmon.capture.lineage.tracker import Lineage

SHAPE = (3, 4, 6)

MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(1, 2, 0),
    "mT": lambda x: x.mT,
    "view": lambda x: x.view(3, 2, 2, 6),
    "flatten": lambda x: x.flatten(0, 1),
    "unflatten": lambda x: x.unflatten(-1, (2, 3)),
    "a slice": lambda x: x[:, 1:3],
    "indices": lambda x: x[torch.tensor([2, 0])],
    "a mask": lambda x: x[torch.tensor([True, False, True])],
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 1])),
    "gather": lambda x: x.gather(1, torch.tensor([0, 2, 2]).view(3, 1, 1).expand(3, 1, 6)),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 0),
    "repeat": lambda x: x.repeat(2, 1, 1),
    "roll": lambda x: x.roll(1, 0),
    "flip": lambda x: x.flip(0),
    "unfold": lambda x: x.unfold(1, 2, 1),
    "cat": lambda x: torch.cat([x, x.roll(1, 0)]),
    "stack": lambda x: torch.stack([x, x.flip(0)], 1),
    "expand": lambda x: x[:, None].expand(-1, 5, -1, -1),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "several in turn": lambda x: x.transpose(0, 1).reshape(12, 6)[1::2].unsqueeze(0),
}


def follow(function: Callable[..., object], *args: object) -> Lineage:
    """Call each torch function that this one calls, under a lineage of the first argument."""

    class Following(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            lineage.after(func, args, kwargs or {}, result)
            return result

    lineage = Lineage(args)
    with Following():
        results.append(function(*args))
    return lineage


results: list[object] = []


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_what_moves_elements_moves_their_labels(move: Callable[[Tensor], Tensor]) -> None:
    x = torch.arange(72.0).view(SHAPE)
    labels = follow(move, x).of(moved := results.pop())
    assert isinstance(moved, Tensor)
    assert labels is not None
    coordinates = torch.stack(torch.meshgrid(*map(torch.arange, SHAPE), indexing="ij"))
    for label, expected in zip((labels.first, labels.second), coordinates, strict=False):
        assert label is not None
        known = label.expand(moved.shape)
        is_known = known >= 0
        assert torch.equal(known[is_known], move(expected).to(torch.int32)[is_known])
        assert is_known.any()


def test_padding_is_of_the_same_sample_and_of_no_place_in_it() -> None:
    labels = follow(lambda x: F.pad(x, (0, 0, 1, 1)), torch.ones(SHAPE)).of(results.pop())
    assert labels is not None
    assert labels.first is not None
    assert labels.second is not None
    assert labels.first.flatten().tolist() == [0, 1, 2]
    assert labels.second.flatten().tolist() == [UNKNOWN, 0, 1, 2, 3, UNKNOWN]


PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "linear": (lambda x: F.linear(x, torch.ones(8, 6)), 8),
    "matmul": (lambda x: x @ torch.ones(6, 8), 8),
    "einsum": (lambda x: torch.einsum("bnd,dhe->bnhe", x, torch.ones(6, 2, 4)), 8),
    "embedding": (lambda x: F.embedding(x[..., 0].long(), torch.ones(72, 8)), 8),
}


@pytest.mark.parametrize(("product", "features"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_projection_numbers_its_features_and_keeps_the_place(
    product: Callable[[Tensor], Tensor], features: int
) -> None:
    labels = follow(product, torch.arange(72.0).view(SHAPE)).of(made := results.pop())
    assert isinstance(made, Tensor)
    assert labels is not None
    assert labels.first is not None
    assert labels.first.flatten().tolist() == [0, 1, 2]
    assert labels.feature is not None
    assert labels.feature.unique().numel() == features


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.fft.fft(x).real.sum(),
        lambda x: torch.linalg.svd(x)[1],
        lambda x: torch.ones(3, 4),
    ],
)
def test_nothing_is_guessed_of_what_is_not_understood(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.arange(72.0).view(SHAPE)
    labels = follow(function, x).of(results.pop())
    assert labels is None or labels.second is None


def test_a_label_costs_what_it_says_and_not_what_its_tensor_takes() -> None:
    label = torch.arange(3, dtype=torch.int32).view(3, 1, 1)
    assert compact(label.expand(3, 4, 6)).shape == (3, 1, 1)
    assert reshaped(label, SHAPE, (3, 2, 2, 6)).shape == (3, 1, 1, 1)
    merged = reshaped(label, SHAPE, (12, 6))
    assert merged[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert merged.shape == (12, 1)


def test_the_factors_of_a_product_are_named_as_in_an_einsum() -> None:
    x, w = torch.ones(SHAPE), torch.ones(6, 8)
    named, output = factors_of("matmul", (x, w), {})
    subscripts = [names for _, names in named]
    assert torch.einsum(f"{','.join(subscripts)}->{output}", x, w).shape == (3, 4, 8)
    with pytest.raises(ValueError, match="matmul"):
        factors_of("matmul", (torch.ones(3), torch.ones(3)), {})


def test_one_name_stands_for_all_variants() -> None:
    assert {base_name(f) for f in (torch.mul, Tensor.mul_, Tensor.__mul__, torch.ops.aten.mul)} == {
        "mul"
    }


def test_a_movement_of_several_results_labels_each() -> None:
    x = torch.arange(72.0).view(SHAPE)
    lineage = Lineage([x])
    labels = lineage.of(x)
    assert labels is not None
    parts = replayed_labels(labels, torch.unbind, (x, 0), {}, torch.unbind(x, 0))
    assert [None if p.first is None else p.first.flatten().tolist() for p in parts] == [
        [0], [1], [2],
    ]  # fmt: skip
