"""Names without wrappers, and which module a call is made from."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from attnmon.capture import module_names, unwrap
from attnmon.capture.model.module_names import calling_module, heads_of


class Inner(nn.Module):
    """Its own name for a child is one that a wrapper uses too."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(2, 2)


def test_wrappers_leave_no_trace_in_names() -> None:
    inner = Inner()
    compiled = torch.compile(inner, backend="eager")
    for model in (inner, nn.DataParallel(inner), compiled, nn.DataParallel(compiled)):
        names = module_names(model)
        assert names[id(inner)] == ""
        assert names[id(model)] == ""
        assert names[id(inner.module)] == "module"
        assert unwrap(model) is inner


def test_checkpointed_and_compiled_blocks_keep_their_names() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    model = nn.Sequential(checkpoint_wrapper(first), torch.compile(second, backend="eager"))
    names = module_names(model)
    assert (names[id(first)], names[id(second)]) == ("0", "1")


class Runner(nn.Module):
    def forward(self, closure: Callable[[], None]) -> None:
        closure()


class Caller(nn.Module):
    """Finds itself from a method, from a function that is handed it, from one it hands on."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.runner = Runner()
        self.names: dict[int, str] = {}
        self.found: list[nn.Module | None] = []

    def forward(self, x: Tensor) -> Tensor:
        def closure() -> None:
            self.found.append(calling_module(self.names))

        if self.way == "method":
            self.found.append(calling_module(self.names))
        elif self.way == "closure":
            self.runner(closure)
        else:
            helper(self, self.found, self.names)
        return x


def helper(module: nn.Module, found: list[nn.Module | None], names: dict[int, str]) -> None:
    found.append(calling_module(names))


def test_the_calling_module_is_the_innermost_known_one() -> None:
    for way in ("method", "closure", "helper"):
        caller = Caller(way)
        model = nn.Sequential(caller)
        caller.names = module_names(model)
        model(torch.ones(1))
        assert caller.found == [caller]
    unknown = Caller("method")
    unknown.names = module_names(nn.Identity())
    unknown(torch.ones(1))
    assert unknown.found == [None]


def test_the_number_of_heads_under_its_usual_names() -> None:
    module = nn.Module()
    assert heads_of(module) is None
    assert heads_of(None) is None
    module.n_head = 3
    assert heads_of(module) == 3
    module.num_heads = True  # a flag is no number
    assert heads_of(module) == 3
    assert heads_of(nn.MultiheadAttention(8, 2)) == 2
