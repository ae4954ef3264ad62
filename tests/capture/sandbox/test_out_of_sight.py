"""State that the model's modules do not hold, but their code names: an extra forward leaves it."""

import itertools
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon.capture import ForwardStopped, probe

WIDTH, STEPS = 8, 4
Count = Callable[[], float]
"""Returns another number at each call, by state that it keeps somewhere."""


class Counting(nn.Module):
    """Attends to what is multiplied by a count."""

    def __init__(self, count: Count) -> None:
        super().__init__()
        self.inputs, self.count = nn.Linear(WIDTH, 3 * WIDTH), count

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inputs(x * self.count()).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value)


class Key:
    """What may be a key of a weak dictionary; it keeps all of its kind alive."""

    alive: list["Key"] = []  # noqa: RUF012 - meant to be of all

    def __init__(self) -> None:
        self.alive.append(self)


class Numbered:
    """Counts for the whole class."""

    numbers: Iterator[int] = itertools.count(1)
    calls = 0

    @property
    def next_call(self) -> int:
        Numbered.calls += 1
        return Numbered.calls


class Guarded:
    """Counts under a lock."""

    def __init__(self) -> None:
        self.calls = 0
        self.lock = threading.Lock()

    def next_call(self) -> int:
        with self.lock:
            self.calls += 1
        return self.calls


class Picture(Tensor):
    """Counts what is done to its kind."""

    calls = 0

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.calls += 1
        return super().__torch_function__(func, types, args, kwargs or {})


elsewhere = ModuleType("elsewhere")
elsewhere.calls = 0  # type: ignore[attr-defined]
calls = 0
numbers: Iterator[int] = iter(())
numbered = Numbered()
current: ContextVar[int] = ContextVar("current")
seen_here: ContextVar[list[int]] = ContextVar("seen_here")
local = threading.local()
by_key: WeakKeyDictionary[Key, int] = WeakKeyDictionary()
by_name: WeakValueDictionary[int, Key] = WeakValueDictionary()
keys: WeakSet[Key] = WeakSet()


def helper() -> int:
    function: Any = helper
    function.calls = getattr(function, "calls", 0) + 1
    return int(function.calls)


def with_a_list(seen: list[int] = [0]) -> int:  # noqa: B006 - as people do
    seen.append(1)
    return len(seen)


def with_an_iterator(*, numbers: tuple[Iterator[int], ...] = (itertools.count(1),)) -> int:
    return next(numbers[0])


def a_global() -> int:
    global calls
    calls += 1
    return calls


def enclosed_iterator() -> Count:
    numbers = itertools.count(1)
    return lambda: next(numbers)


def enclosed_generator() -> Count:
    numbers = (number * number for number in range(1, 99))
    return lambda: next(numbers)


def in_a_context() -> int:
    current.set(current.get(0) + 1)
    return current.get()


def in_a_list_of_the_context() -> int:
    seen_here.get().append(1)
    return len(seen_here.get())


def of_the_thread() -> int:
    local.calls = getattr(local, "calls", 0) + 1
    return int(local.calls)


def of_a_key() -> int:
    by_key[Key.alive[0]] = by_key.get(Key.alive[0], 0) + 1
    return by_key[Key.alive[0]]


def of_values() -> int:
    by_name[len(by_name)] = Key()
    return len(by_name)


def of_a_set() -> int:
    keys.add(Key())
    return len(keys)


def of_another_module() -> int:
    elsewhere.calls += 1  # type: ignore[attr-defined]
    return int(elsewhere.calls)  # type: ignore[attr-defined]


def of_a_module_imported_here() -> int:
    import elsewhere  # type: ignore[import-not-found]

    elsewhere.calls += 1
    return int(elsewhere.calls)


def enclosed_module() -> Count:
    module = elsewhere

    def count() -> int:
        module.calls += 1  # type: ignore[attr-defined]
        return int(module.calls)  # type: ignore[attr-defined]

    return count


def of_the_environment() -> int:
    os.environ["ATTNMON_CALLS"] = str(int(os.environ.get("ATTNMON_CALLS", 0)) + 1)
    return int(os.environ["ATTNMON_CALLS"])


def enclosed_memory() -> Count:
    memory = memoryview(bytearray(1))

    def count() -> int:
        memory[0] += 1
        return memory[0]

    return count


def enclosed_picture() -> Count:
    picture = torch.zeros(1).as_subclass(Picture)

    def count() -> int:
        picture.abs()
        return Picture.calls

    return count


async def later() -> AsyncIterator[int]:
    for number in range(1, 99):
        yield number


def enclosed_async_generator() -> Count:
    numbers = later()

    def count() -> int:
        with pytest.raises(StopIteration) as ended:
            numbers.__anext__().__await__().send(None)
        return int(ended.value.value)

    return count


def of_another_function() -> int:
    return a_global() + helper()


WAYS: dict[str, Callable[[], Count]] = {
    "an attribute of a function": lambda: lambda: helper(),
    "a default argument": lambda: lambda: with_a_list(),
    "an iterator as a default": lambda: lambda: with_an_iterator(),
    "a global of a function that is called": lambda: lambda: a_global(),
    "functions that call functions": lambda: lambda: of_another_function(),
    "an iterator in a closure": enclosed_iterator,
    "a generator in a closure": enclosed_generator,
    "an iterator in a global": lambda: lambda: next(numbers),
    "an iterator of a class": lambda: lambda: next(Numbered.numbers),
    "a property": lambda: lambda: numbered.next_call,
    "a context variable": lambda: lambda: in_a_context(),
    "a list in a context variable": lambda: lambda: in_a_list_of_the_context(),
    "of the thread": lambda: lambda: of_the_thread(),
    "a weak dictionary": lambda: lambda: of_a_key(),
    "a weak dictionary of values": lambda: lambda: of_values(),
    "a weak set": lambda: lambda: of_a_set(),
    "another module": lambda: lambda: of_another_module(),
    "a module that is imported there": lambda: lambda: of_a_module_imported_here(),
    "a module in a closure": enclosed_module,
    "an object beside its lock": lambda: Guarded().next_call,
    "the environment": lambda: lambda: of_the_environment(),
    "memory": enclosed_memory,
    "a kind of tensors": enclosed_picture,
    "an asynchronous generator": enclosed_async_generator,
}
STOPPED = {name for name in WAYS if "iterator" in name or "generator" in name}


def start_anew() -> None:
    global calls, numbers
    calls, numbers, Numbered.numbers, Numbered.calls = 0, iter(range(1, 99)), itertools.count(1), 0
    vars(helper).clear(), vars(local).clear(), by_key.clear(), by_name.clear(), keys.clear()
    with_a_list.__defaults__ = ([0],)
    with_an_iterator.__kwdefaults__ = {"numbers": (itertools.count(1),)}
    Key.alive[:] = []
    Key()
    current.set(0), seen_here.set([])
    Picture.calls = 0
    os.environ.pop("ATTNMON_CALLS", None)
    elsewhere.calls = 0  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)
    yield
    os.environ.pop("ATTNMON_CALLS", None)


@pytest.mark.parametrize("way", WAYS)
def test_each_forward_gives_what_it_gives_without_extra_ones(way: str) -> None:
    def outputs(*, with_probes: bool) -> list[Tensor]:
        torch.manual_seed(0)
        start_anew()
        model, found = Counting(WAYS[way]()), []
        for _ in range(STEPS):
            x = torch.randn(3, 5, WIDTH)
            found.append(model(x).detach())
            if with_probes:
                with suppress(ForwardStopped):
                    probe(model, x, None, TapLog(), batch_dim=0)
        return found

    assert torch.equal(
        torch.stack(outputs(with_probes=True)), torch.stack(outputs(with_probes=False))
    )


@pytest.mark.parametrize("way", WAYS)
def test_only_iterators_stop_it(way: str) -> None:
    start_anew()
    model, log, x = Counting(WAYS[way]()), TapLog(), torch.randn(3, 5, WIDTH)
    if way in STOPPED:
        with pytest.raises(ForwardStopped, match="an iterator"):
            probe(model, x, None, log, batch_dim=0)
    else:
        probe(model, x, None, log, batch_dim=0)
        assert len(log.calls) == 1


SHARED = itertools.count()


def test_for_other_threads_an_iterator_stays_one() -> None:
    """Data may be prepared by a thread that takes its numbers from the same iterator."""
    begun, ended = threading.Event(), threading.Event()
    taken: list[int] = []

    def prepare_data() -> None:
        begun.wait(60)
        try:
            taken.append(next(SHARED))
        finally:
            ended.set()

    def names_it_too() -> float:
        begun.set()
        return 1.0 if ended.wait(60) else next(SHARED)

    thread = threading.Thread(target=prepare_data)
    thread.start()
    probe(Counting(names_it_too), torch.randn(3, 5, WIDTH), None, TapLog(), batch_dim=0)
    thread.join()
    assert taken == [0]
    assert next(SHARED) == 1
