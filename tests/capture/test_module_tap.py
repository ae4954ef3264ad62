"""Looking into the attention modules alone: the same is seen, and nothing is left of it."""

import copy
import inspect
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from support.models import Translator
from support.tapping import TapLog, is_watched
from torch import Tensor, nn

from attnmon.capture import Tap, module_names
from attnmon.capture.module_tap import TappedModules


def attending(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.MultiheadAttention)]


@contextmanager
def tapping(model: nn.Module, log: TapLog) -> Iterator[None]:
    tap = Tap(module_names(model), log)
    with TappedModules(tap, attending(model)):
        yield
    tap.finish()


def test_the_same_is_seen_as_from_end_to_end() -> None:
    model, source, target = Translator().eval(), *torch.randint(40, (2, 3, 7))
    everywhere, there = TapLog(), TapLog()
    with Tap(module_names(model), everywhere):
        expected = model(source, target)
    with tapping(model, there):
        assert torch.equal(model(source, target), expected)
    assert [(call.name, call.call_index) for call in there.calls] == [
        (s.name, s.call_index) for s in everywhere.calls
    ]
    assert len(there.calls) == len(attending(model))
    for one, other in zip(there.calls, everywhere.calls, strict=True):
        assert one.query is not None
        assert other.query is not None
        assert torch.equal(one.query, other.query)


def test_nothing_is_left_after_it_nor_after_an_error() -> None:
    model = Translator()
    before = [dict(vars(module)) for module in model.modules()]
    with tapping(model, TapLog()):
        assert all(map(is_watched, attending(model)))
    with pytest.raises(RuntimeError), tapping(model, TapLog()):
        model(*torch.zeros(2, 1, 3))
    assert not is_watched(model)
    assert [dict(vars(module)) for module in model.modules()] == before
    assert not torch.overrides._get_current_function_mode_stack()


def test_two_that_look_at_once_let_go_in_any_order() -> None:
    model, source, target = Translator().eval(), *torch.randint(40, (2, 3, 7))
    one, other = TapLog(), TapLog()
    first, second = tapping(model, one), tapping(model, other)
    first.__enter__()
    second.__enter__()
    model(source, target)
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert len(one.calls) == len(other.calls) == len(attending(model))
    assert not is_watched(model)


def test_what_a_script_does_to_a_module_in_the_meantime_stays() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x, plain = torch.randn(1, 3, 8), attention.forward
    expected = attention(x, x, x)[0]
    names = inspect.getfullargspec(attention.forward).args
    log = TapLog()
    with tapping(attention, log):
        assert attention.forward.__func__ is nn.MultiheadAttention.forward
        assert inspect.getfullargspec(attention.forward).args == names
        copies = (
            copy.copy(attention),
            copy.deepcopy(attention),
            pickle.loads(pickle.dumps(attention)),
        )
        attention.forward = lambda *args, **kwargs: plain(*args, **kwargs)  # a lazy patch
        mine = attention.forward
    assert attention.forward is mine
    assert "forward" not in vars(copies[0])
    own = nn.Parameter(torch.zeros_like(attention.in_proj_weight))
    copies[0].in_proj_weight = own
    assert copies[0].in_proj_weight is own
    for other in copies[1:]:
        with torch.no_grad():
            assert torch.equal(other(x, x, x)[0], expected)
    assert not log.calls


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
    log = TapLog()
    tap = Tap(module_names(model), log)
    with TappedModules(tap, [model[0], model[0].inner]):
        model(torch.randn(1, 3, 8))
    assert [(call.name, call.call_index) for call in log.calls] == [("0.inner", 0), ("0", 0)]
