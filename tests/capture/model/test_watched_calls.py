"""Watching a module's calls leaves no hook, and what copies, saves or exports it sees nothing."""

import copy
import gc
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from support.tapping import is_watched
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from attnmon.capture.model.watched_calls import unwatch_calls, watch_calls


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))


class OwnState(Attends):
    """Saves its attributes itself, as Lightning's modules do."""

    def __getstate__(self) -> dict[str, Any]:
        return dict(vars(self))


class Log:
    """Counts the calls that it is a context of."""

    def __init__(self) -> None:
        self.called: list[nn.Module] = []
        self.left = 0

    @contextmanager
    def context(self, module: nn.Module, args: Any, kwargs: Any) -> Iterator[None]:
        self.called.append(module)
        try:
            yield
        finally:
            self.left += 1


X = torch.randn(2, 5, 8)
EXPORTS: dict[str, Callable[[nn.Module], Any]] = {
    "script": torch.jit.script,
    "script of a copy": lambda model: torch.jit.script(copy.deepcopy(model)),
    "script of what was saved": lambda model: torch.jit.script(pickle.loads(pickle.dumps(model))),
    "trace": lambda model: torch.jit.trace(model, X),
    "fx": torch.fx.symbolic_trace,
    "fx of a larger model": lambda model: torch.fx.symbolic_trace(nn.Sequential(model)),
    "make_fx": lambda model: make_fx(model)(X),
    "export": lambda model: torch.export.export(model, (X,)).module(),
    "strict export": lambda model: torch.export.export(model, (X,), strict=True).module(),
}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", [Attends, OwnState])
@pytest.mark.parametrize("way", EXPORTS)
def test_a_watched_module_is_exported_as_it_is_unwatched(way: str, kind: type[Attends]) -> None:
    model, log = kind(), Log()
    expected = EXPORTS[way](model)
    watch_calls(model, log.context)
    exported = EXPORTS[way](model)
    assert exported.code == expected.code
    assert is_watched(exported) == is_watched(expected)
    assert log.called in ([], [model]), "torch.jit.trace calls it once more, to compare"
    assert torch.equal(exported(X), model(X))
    unwatch_calls(model, log.context)


@pytest.mark.parametrize("kind", [Attends, OwnState])
def test_it_is_called_once_around_each_call_and_by_no_copy(kind: type[Attends]) -> None:
    model, log, file = kind(), Log(), io.BytesIO()
    plain = [sorted(vars(module)) for module in model.modules()]
    watch_calls(model, log.context)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    torch.save(model, file)
    assert b"attnmon" not in file.getvalue(), "it could not be read where attnmon is not"
    file.seek(0)
    copies = [copy.copy(model), copy.deepcopy(model), torch.load(file, weights_only=False)]
    copies[0]._modules = {**model._modules, "q": nn.Linear(8, 8)}
    for one in copies[1:]:
        assert torch.equal(one(X), model.forward(X))
    assert not torch.equal(copies[0](X), model.forward(X)), "it has a layer of its own"
    assert log.called == []
    with pytest.raises(RuntimeError):
        model(torch.ones(3))
    assert torch.equal(model(X), model.forward(X))
    assert (log.called, log.left) == ([model, model], 2)
    unwatch_calls(model, log.context)
    assert [sorted(vars(module)) for module in model.modules()] == plain


def test_several_that_watch_let_go_in_any_order_and_the_dead_are_forgotten() -> None:
    model, first, second = Attends(), Log(), Log()
    watch_calls(model, first.context)
    watch_calls(model, second.context)
    model(X)
    unwatch_calls(model, first.context)
    model(X)
    assert (len(first.called), len(second.called)) == (1, 2)
    unwatch_calls(model, first.context)
    del second
    gc.collect()
    model(X)
    assert not is_watched(model)


def test_a_replica_of_data_parallel_computes_with_its_own_parameters() -> None:
    model, log = Attends(), Log()
    watch_calls(model, log.context)
    replica: Any = model._replicate_for_data_parallel()
    replica._modules["q"] = nn.Linear(8, 8)
    assert torch.equal(replica(X), replica.forward(X))
    assert log.called == [replica]
    unwatch_calls(model, log.context)


def test_a_compiled_module_is_left_alone() -> None:
    model, log = Attends(), Log()
    model.compile(backend="eager")
    compiled = model._compiled_call_impl
    watch_calls(model, log.context)
    model(X)
    unwatch_calls(model, log.context)
    assert model._compiled_call_impl is compiled
    assert log.called == []


@pytest.mark.parametrize("whole", [True, False], ids=["the model", "a function that calls it"])
def test_what_was_compiled_before_stays_so(whole: bool) -> None:
    model, log, graphs = Attends(), Log(), []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    run = torch.compile(model if whole else lambda x: model(x) * 2, backend=backend, fullgraph=True)
    expected = run(X)
    for _ in range(3):
        watch_calls(model, log.context)
        assert torch.equal(run(X), expected)
        unwatch_calls(model, log.context)
        assert torch.equal(run(X), expected)
    assert len(graphs) <= 2, "torch may compile for a model that is watched, once"
    assert log.called == []
