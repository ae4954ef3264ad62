"""Attention called by name is seen without a function mode, and nobody else can tell."""

import copy
import pickle
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Translator
from support.tapping import TapLog
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from attnmon.capture import OTHERWISE, CallsByName, Tap, module_names
from attnmon.capture.module_tap import TappedModules
from attnmon.capture.named_calls import NamedCalls

ORIGINAL = F.scaled_dot_product_attention
X = torch.ones(1, 1, 2, 4)
CALLS = 6
"""Calls that `called` makes."""


class Log:
    """Makes the calls that it receives, and counts them."""

    def __init__(self) -> None:
        self.calls = 0

    def receive(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        assert function is ORIGINAL
        return function(*args, **kwargs)


def called(dropped: bool) -> None:
    F.scaled_dot_product_attention(X, X, X)
    torch.nn.functional.scaled_dot_product_attention(X, X, value=X)
    F.scaled_dot_product_attention(X if dropped else X[:], X, X, dropout_p=0.1 if dropped else 0.0)
    module = F
    module.scaled_dot_product_attention(X, X, X)
    F.scaled_dot_product_attention(*(X, X, X))
    torch.nn.functional.scaled_dot_product_attention(X, X, value=X)


def test_code_that_was_seen_is_let_go_of() -> None:
    """As that of cells of a notebook, of which each has its own."""
    log, space = Log(), {"F": F, "X": X}
    code = compile("F.scaled_dot_product_attention(X, X, X)", "a cell", "exec")
    with NamedCalls(log.receive):
        exec(code, space)
    gone = weakref.ref(code)
    del code
    assert log.calls == 1
    assert gone() is None


def used_otherwise(condition: bool) -> None:
    kept = F.scaled_dot_product_attention
    assert kept is ORIGINAL
    assert F.scaled_dot_product_attention is ORIGINAL
    assert getattr(F, "scaled_dot_product_attention") is ORIGINAL  # noqa: B009
    assert F.scaled_dot_product_attention.__name__ == "scaled_dot_product_attention"
    assert vars(F)["scaled_dot_product_attention"] is ORIGINAL
    (F.scaled_dot_product_attention or kept)(X, X, X)
    (kept if condition else F.scaled_dot_product_attention)(X, X, X)
    list(map(F.scaled_dot_product_attention, [X], [X], [X]))
    kept(X, X, X)
    scaled_dot_product_attention(X, X, X)


def test_only_a_lookup_that_is_the_first_half_of_a_call_is_answered_otherwise() -> None:
    for _ in range(50):  # until the interpreter has specialised the code
        called(False)
        used_otherwise(True)
    log = Log()
    with NamedCalls(log.receive):
        called(False)
        assert log.calls == CALLS
        used_otherwise(True)
        used_otherwise(False)
        assert log.calls == CALLS
        assert pickle.loads(pickle.dumps(F)) is copy.deepcopy(F) is F
    assert type(F) is type(torch)
    called(False)
    assert log.calls == CALLS


def test_other_threads_and_functions_put_in_its_place_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    with NamedCalls(log.receive):
        thread = threading.Thread(target=called, args=(True,))
        thread.start()
        thread.join()
        mine = lambda *args, **kwargs: ORIGINAL(*args, **kwargs)  # noqa: E731
        monkeypatch.setattr(F, "scaled_dot_product_attention", mine)
        assert F.scaled_dot_product_attention is mine
        called(True)
        monkeypatch.undo()
        assert not log.calls
        called(True)
    assert log.calls == CALLS


def test_a_name_can_be_taken_away_and_set_while_it_is_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with NamedCalls(Log().receive):
        monkeypatch.delattr(F, "scaled_dot_product_attention")
        assert "scaled_dot_product_attention" not in vars(F)
        assert not hasattr(F, "scaled_dot_product_attention")
        with pytest.raises(AttributeError, match="scaled_dot_product_attention"):
            called(True)
        with pytest.raises(AttributeError):
            del F.scaled_dot_product_attention
    monkeypatch.undo()
    assert vars(F)["scaled_dot_product_attention"] is ORIGINAL


def test_the_first_that_watches_a_thread_is_the_only_one_until_it_ends() -> None:
    one, other = Log(), Log()
    first, second = NamedCalls(one.receive), NamedCalls(other.receive)
    with first:
        with second:
            called(False)
        called(False)
    assert (one.calls, other.calls) == (2 * CALLS, 0)
    with second:
        called(False)
    assert (one.calls, other.calls) == (2 * CALLS, CALLS)
    assert type(F) is type(torch)


class Attention(nn.Module):
    """Attends by the name, or by a function that it was given when it was made."""

    def __init__(self, kept: Any = None) -> None:
        super().__init__()
        self.kept = kept
        self.mixed = nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.mixed(x)[:, None].chunk(3, -1)
        if self.kept is not None:
            assert self.kept is F.scaled_dot_product_attention, "somebody has replaced it"
            return self.kept(query, key, value)[:, 0]
        return F.scaled_dot_product_attention(query, key, value)[:, 0]


@contextmanager
def tapping(model: nn.Module, log: TapLog, known: CallsByName) -> Iterator[None]:
    kinds = (nn.MultiheadAttention, Attention)
    modules = [module for module in model.modules() if isinstance(module, kinds)]
    tap = Tap(module_names(model), log)
    with TappedModules(tap, modules, known):
        yield
    tap.finish()


def told(model: nn.Module, inputs: tuple[Tensor, ...], known: CallsByName) -> TapLog:
    log = TapLog()
    with tapping(model, log, known):
        model(*inputs)
    return log


@pytest.mark.parametrize("needs_weights", [False, True])
def test_the_same_is_told_with_the_mode_and_without(needs_weights: bool) -> None:
    model, inputs = Translator().eval(), (*torch.randint(40, (2, 3, 7)),)
    if needs_weights:
        model = nn.MultiheadAttention(8, 2, batch_first=True).eval()
        inputs = (torch.rand(2, 3, 8),) * 3
    known: CallsByName = {}
    before = told(model, inputs, known)
    assert set(known.values()) == {1}
    after = told(model, inputs, known)
    assert len(before.calls) == len(after.calls) == len(known)
    for one, other in zip(before.calls, after.calls, strict=True):
        assert (one.name, one.call_index, one.heads) == (other.name, other.call_index, other.heads)
        for tensor in ("query", "key", "weights", "bias", "output"):
            mine, theirs = getattr(one, tensor), getattr(other, tensor)
            assert mine is theirs is None or torch.equal(mine, theirs)


def test_no_mode_is_on_once_the_calls_are_known() -> None:
    model, modes = nn.Sequential(Attention()), []
    model[0].mixed.register_forward_hook(
        lambda *_: modes.append(torch._C._len_torch_function_stack())
    )
    known: CallsByName = {}
    for _ in range(3):
        assert len(told(model, (torch.rand(2, 3, 8),), known).calls) == 1
    assert modes == [1, 0, 0]


def test_a_module_that_compares_the_function_or_keeps_it_is_seen_by_the_mode() -> None:
    model, known = nn.Sequential(Attention(kept=ORIGINAL)), {}
    for _ in range(3):
        assert len(told(model, (torch.rand(2, 3, 8),), known).calls) == 1
    assert known == {"0": OTHERWISE}


def test_a_module_that_begins_to_call_otherwise_gets_the_mode_again() -> None:
    model, known = nn.Sequential(Attention()), {}
    inputs = (torch.rand(2, 3, 8),)
    for _ in range(2):
        told(model, inputs, known)
    model[0].kept = ORIGINAL
    told(model, inputs, known)
    assert known == {"0": OTHERWISE}
    assert len(told(model, inputs, known).calls) == 1


class Doubling(TorchFunctionMode):
    """A mode of the user's that tells the function by identity."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return result * 2 if func is F.scaled_dot_product_attention else result


class Tripling(Tensor):
    """A class of tensors of the user's that does so."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        return result * 3 if func is F.scaled_dot_product_attention else result


def test_what_others_do_at_the_call_is_done() -> None:
    model = nn.Sequential(Attention())
    x, known = torch.rand(2, 3, 8), {}
    with Doubling():
        doubled = model(x)
    tripled = model(x.as_subclass(Tripling))
    for _ in range(3):
        log = TapLog()
        with tapping(model, log, known):
            with Doubling():
                assert torch.equal(model(x), doubled)
            assert torch.equal(model(x.as_subclass(Tripling)), tripled)
        assert len(log.calls) == 2


def test_two_that_look_at_once_see_the_same() -> None:
    model, x = nn.Sequential(Attention()), torch.rand(2, 3, 8)
    known: CallsByName = {}
    told(model, (x,), known)
    one, other = TapLog(), TapLog()
    with tapping(model, one, known), tapping(model, other, dict(known)):
        model(x)
    assert len(one.calls) == len(other.calls) == 1
    assert one.calls[0].query is not None
    assert other.calls[0].query is not None
    assert torch.equal(one.calls[0].query, other.calls[0].query)


def test_code_whose_constants_are_of_any_kind_is_called_as_ever() -> None:
    """Programs that make code put whatever they like among its constants."""

    def made() -> object:
        F.scaled_dot_product_attention(X, X, X)
        return "a list"

    constants = tuple([] if each == "a list" else each for each in made.__code__.co_consts)
    made.__code__ = made.__code__.replace(co_consts=constants)
    log = Log()
    with NamedCalls(log.receive):
        assert made() == []
    assert log.calls == 1
