"""Looking into the attention modules alone: the same is seen, and nothing is left of it."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from models import Translator
from torch import Tensor, nn

from attnmon.capture import Observation, Tap, module_names
from attnmon.capture.sites import looked_into


def attending(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]


@contextmanager
def looking(model: nn.Module, told: list[Observation]) -> Iterator[None]:
    tap = Tap(module_names(model), told.append, pytest.fail)
    with looked_into(tap, attending(model)):
        yield
    tap.finish()


def test_the_same_is_seen_as_from_end_to_end() -> None:
    model, source, target = Translator().eval(), *torch.randint(40, (2, 3, 7))
    everywhere: list[Observation] = []
    there: list[Observation] = []
    with Tap(module_names(model), everywhere.append, pytest.fail):
        expected = model(source, target)
    with looking(model, there):
        assert torch.equal(model(source, target), expected)
    assert [(seen.name, seen.call) for seen in there] == [(s.name, s.call) for s in everywhere]
    assert len(there) == len(attending(model))
    for one, other in zip(there, everywhere, strict=True):
        assert one.query is not None
        assert other.query is not None
        assert torch.equal(one.query, other.query)


def test_nothing_is_left_after_it_nor_after_an_error() -> None:
    model = Translator()
    before = [dict(vars(module)) for module in model.modules()]
    with looking(model, []):
        assert sum("forward" in vars(module) for module in model.modules()) == 6
    with pytest.raises(RuntimeError), looking(model, []):
        model(*torch.zeros(2, 1, 3))
    assert [dict(vars(module)) for module in model.modules()] == before
    assert not torch.overrides._get_current_function_mode_stack()


def test_a_forward_that_is_the_modules_own_comes_back() -> None:
    model = Translator()
    first = attending(model)[0]
    original = first.forward
    first.forward = lambda *args, **kwargs: original(*args, **kwargs)
    mine = first.forward
    with looking(model, []):
        assert first.forward is not mine
    assert first.forward is mine


def test_a_copy_made_in_the_meantime_computes_by_itself() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(1, 3, 8)
    expected = attention(x, x, x)[0]
    told: list[Observation] = []
    with looking(attention, told):
        copied, stored = copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))
        assert "key_padding_mask" in inspect.signature(attention.forward).parameters
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.zero_()
    for other in (copied, stored):
        assert torch.equal(other(x, x, x)[0], expected)
    assert not told


class Nested(nn.Module):
    """Attends by itself, and has a module that attends as well."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x, x, x, need_weights=False)[0]
        return nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0]


def test_of_modules_inside_each_other_each_tells_its_own_once() -> None:
    model = nn.Sequential(Nested())
    told: list[Observation] = []
    tap = Tap(module_names(model), told.append, pytest.fail)
    with looked_into(tap, [model[0], model[0].inner]):
        model(torch.randn(1, 3, 8))
    assert [(seen.name, seen.call) for seen in told] == [("0.inner", 0), ("0", 0)]
