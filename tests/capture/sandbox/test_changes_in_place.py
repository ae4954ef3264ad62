"""Models whose forward changes something, in many ways: an extra forward changes nothing of it."""

import ctypes
import functools
import hashlib
import io
import itertools
import mmap
import queue
import random
import sqlite3
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.outputs import history, summary
from support.tapping import TapLog
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor
from attnmon.capture import ForwardStopped, probe

WIDTH, STEPS = 8, 4

Change = Callable[["Changing", Tensor], Tensor]
"""Changes something while the forward runs, and returns what the forward goes on with."""


@dataclass(slots=True)
class Slotted:
    """An object that has no dict."""

    calls: int = 0


class Settings:
    """A plain object, as configurations are, with a count of the whole class's."""

    calls_of_all = 0

    def __init__(self) -> None:
        self.calls = 0
        self.inner = SimpleNamespace(history=[0.5])


@dataclass
class Record:
    seen: list[Tensor] = field(default_factory=list)


calls_of_the_module = 0
cache_of_the_module: dict[str, Tensor] = {}


class Changing(nn.Module):
    """Attends, and holds all kinds of state besides."""

    calls_of_the_class = 0

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.inputs, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.slow = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.memory = nn.Parameter(torch.zeros(6, WIDTH), requires_grad=False)
        self.words = nn.Embedding(5, WIDTH, max_norm=0.3)
        self.bag = nn.EmbeddingBag(5, WIDTH, max_norm=0.3)
        self.norm, self.steps = nn.BatchNorm1d(WIDTH), nn.ModuleList()
        self.hidden = [nn.BatchNorm1d(WIDTH)]  # no module of this one
        self.register_buffer("average", torch.zeros(WIDTH))
        self.cache, self.state = torch.zeros(6, WIDTH), torch.zeros(WIDTH)
        self.mean, self.variance = torch.zeros(WIDTH), torch.ones(WIDTH)
        self.sparse = torch.eye(WIDTH).to_sparse()
        self.array = np.ones(WIDTH, dtype=np.float32)
        self.noise, self.python = torch.Generator().manual_seed(1), random.Random(1)
        self.numpy, self.legacy = np.random.default_rng(1), np.random.RandomState(1)
        self.losses, self.last = [torch.zeros(())], deque([0.5], maxlen=3)
        self.counts, self.table, self.names = Counter(a=1), defaultdict(float), {1}
        self.order, self.bytes = OrderedDict(a=1.0, b=2.0), bytearray(b"\1\2")
        self.nested = {"deep": [{"deeper": [torch.zeros(WIDTH)]}]}
        self.settings, self.slotted, self.record, self.calls = Settings(), Slotted(), Record(), 0
        self.numbers, self.draws = itertools.count(1), squares()
        self.optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        self.numbers_in_c, self.shared = array("l", [1]), ctypes.c_long(0)
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        x = self.change(self, x)
        query, key, value = self.inputs(x).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(query, key, value))  # type: ignore[no-any-return]


def squares() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number**2


CHANGES: dict[str, Change] = {}
HARM: set[str] = set()
"""The names of those that are stopped. The others are put back."""


def change(function: Change) -> Change:
    CHANGES[function.__name__] = function
    return function


def harm(function: Change) -> Change:
    HARM.add(function.__name__)
    return change(function)


# Parameters


@harm
def a_running_mean_of_parameters(model: Changing, x: Tensor) -> Tensor:
    with torch.no_grad():
        for slow, fast in zip(model.slow.parameters(), model.out.parameters(), strict=True):
            slow.mul_(0.9).add_(fast, alpha=0.1)
    return x + model.slow(x)


@harm
def the_same_for_all_parameters_at_once(model: Changing, x: Tensor) -> Tensor:
    with torch.no_grad():
        slow, fast = [*model.slow.parameters()], [*model.out.parameters()]
        torch._foreach_mul_(slow, 0.9)
        torch._foreach_add_(slow, fast, alpha=0.1)
    return x + model.slow(x)


@harm
def an_optimizer_inside_the_model(model: Changing, x: Tensor) -> Tensor:
    slow = [*model.slow.parameters()]
    grads = [torch.ones_like(p) for p in slow]
    with torch.no_grad():
        torch._fused_sgd_(
            slow, grads, [], weight_decay=0.0, momentum=0.0, lr=0.1, dampening=0.0, nesterov=False,
            maximize=False, is_first_step=True,
        )  # fmt: skip
    return x + model.slow(x)


@harm
def data_that_is_written_to(model: Changing, x: Tensor) -> Tensor:
    model.slow.weight.data.lerp_(model.out.weight.data, 0.1)
    return x + model.slow(x)


@change
def data_that_is_replaced(model: Changing, x: Tensor) -> Tensor:
    model.slow.weight.data = model.slow.weight.data * 0.9 + model.out.weight.data * 0.1
    return x + model.slow(x)


@change
def data_that_is_turned(model: Changing, x: Tensor) -> Tensor:
    model.slow.weight.data = model.slow.weight.data.T
    return x + model.slow(x)


@change
def a_parameter_that_is_replaced(model: Changing, x: Tensor) -> Tensor:
    model.slow.weight = nn.Parameter(model.slow.weight * 0.9, requires_grad=False)
    return x + model.slow(x)


@change
def a_parameter_that_is_added(model: Changing, x: Tensor) -> Tensor:
    model.register_parameter(f"new_{len(model._parameters)}", nn.Parameter(torch.ones(1)))
    return x * len(model._parameters)


@harm
def a_memory_written_by_index(model: Changing, x: Tensor) -> Tensor:
    with torch.no_grad():
        model.memory[: len(x)] = model.memory[: len(x)] * 0.5 + x[:, 0]
    return x + model.memory.mean(0)


@harm
def a_memory_written_by_scatter(model: Changing, x: Tensor) -> Tensor:
    rows = torch.arange(len(x))
    model.memory.data.index_add_(0, rows, x[:, 0].detach())
    return x + model.memory.mean(0)


@harm
def a_row_of_a_view_of_a_view(model: Changing, x: Tensor) -> Tensor:
    model.memory.detach().view(3, 2, WIDTH).transpose(0, 1)[0][1].add_(x.detach().mean((0, 1)))
    return x + model.memory.mean(0)


@change
def a_parameter_written_through_numpy(model: Changing, x: Tensor) -> Tensor:
    model.memory.detach().numpy()[...] += 0.1
    return x + model.memory.mean(0)


@harm
def a_parameter_written_through_its_storage(model: Changing, x: Tensor) -> Tensor:
    model.memory.detach().untyped_storage()[3] = model.calls + 60
    model.calls += 1
    return x + model.memory.mean(0)


@harm
def words_that_are_renormalised(model: Changing, x: Tensor) -> Tensor:
    return x + model.words(torch.arange(x.shape[1]) % 5)


@harm
def a_bag_that_is_renormalised(model: Changing, x: Tensor) -> Tensor:
    return x + model.bag(torch.arange(x.shape[1])[:, None] % 5)


@change
def flags_of_parameters(model: Changing, x: Tensor) -> Tensor:
    model.slow.weight.requires_grad_(not model.slow.weight.requires_grad)
    return x * (2 if model.slow.weight.requires_grad else 1) + model.slow(x)


@harm
def gradients_of_a_loss_of_its_own(model: Changing, x: Tensor) -> Tensor:
    with torch.enable_grad():
        model.inputs(x.detach()).square().mean().backward()
    return x


@change
def gradients_that_are_dropped(model: Changing, x: Tensor) -> Tensor:
    scale = 1.0 if model.inputs.weight.grad is None else 2.0
    model.inputs.weight.grad = None
    return x * scale


@change
def an_attribute_of_a_parameter(model: Changing, x: Tensor) -> Tensor:
    weight: Any = model.slow.weight
    weight.uses = getattr(weight, "uses", 0) + 1
    return x * weight.uses


# Buffers and tensors that are attributes


@change
def a_buffer(model: Changing, x: Tensor) -> Tensor:
    average: Any = model.average
    average.mul_(0.9).add_(x.detach().mean((0, 1)))
    return x + average


@change
def statistics_of_a_norm(model: Changing, x: Tensor) -> Tensor:
    F.batch_norm(x.mT, model.norm.running_mean, model.norm.running_var, training=True)
    return x + model.norm(x.mT).mT


@harm
def statistics_that_are_attributes(model: Changing, x: Tensor) -> Tensor:
    F.batch_norm(x.mT, model.mean, model.variance, training=True)
    return x + model.mean


@harm
def a_norm_that_is_no_submodule(model: Changing, x: Tensor) -> Tensor:
    return x + model.hidden[0](x.mT).mT + model.hidden[0].running_mean  # type: ignore[operator]


@change
def a_rate_of_an_optimizer(model: Changing, x: Tensor) -> Tensor:
    model.optimizer.param_groups[0]["lr"] *= 0.9
    return x * model.optimizer.param_groups[0]["lr"]


@harm
def a_cache(model: Changing, x: Tensor) -> Tensor:
    model.cache[: len(x)] = x[:, 0].detach() + model.cache[: len(x)]
    return x + model.cache.mean(0)


@harm
def a_cache_copied_into(model: Changing, x: Tensor) -> Tensor:
    model.cache.copy_(model.cache + x.detach().mean())
    return x + model.cache.mean(0)


@harm
def a_result_written_to_an_attribute(model: Changing, x: Tensor) -> Tensor:
    torch.add(model.state, x.detach().mean((0, 1)), out=model.state)
    return x + model.state


@change
def a_state_that_is_replaced(model: Changing, x: Tensor) -> Tensor:
    model.state = (model.state + x.mean((0, 1))).detach()
    return x + model.state


@harm
def an_attribute_that_is_resized(model: Changing, x: Tensor) -> Tensor:
    model.cache.resize_(len(model.cache) - 1, WIDTH)
    return x + len(model.cache)


@harm
def an_attribute_that_is_set(model: Changing, x: Tensor) -> Tensor:
    model.state.set_(model.state + x.detach().mean())
    return x + model.state


@harm
def an_attribute_that_is_turned(model: Changing, x: Tensor) -> Tensor:
    model.cache.t_()
    return x * len(model.cache)


@harm
def a_sparse_attribute(model: Changing, x: Tensor) -> Tensor:
    model.sparse._values().mul_(0.9)
    return x + torch.sparse.mm(model.sparse, torch.ones(WIDTH, 1))[:, 0]


@change
def a_tensor_deep_in_containers(model: Changing, x: Tensor) -> Tensor:
    state = model.nested["deep"][0]["deeper"]
    state[0] = state[0] + x.detach().mean()
    return x + state[0]


@change
def a_tensor_of_the_file(model: Changing, x: Tensor) -> Tensor:
    cache_of_the_module["sum"] = cache_of_the_module.get("sum", torch.zeros(())) + 1
    return x + cache_of_the_module["sum"]


# Inputs


@change
def the_input(model: Changing, x: Tensor) -> Tensor:
    return x.mul_(1.1).add_(0.1)


@change
def an_input_that_is_turned_and_written_to(model: Changing, x: Tensor) -> Tensor:
    x.transpose(0, 1)[0].zero_()
    return x


# Arrays


@change
def an_array(model: Changing, x: Tensor) -> Tensor:
    model.array += 0.1
    return x + torch.from_numpy(model.array)


@change
def an_array_as_a_tensor(model: Changing, x: Tensor) -> Tensor:
    return x + torch.from_numpy(model.array).mul_(1.1)


# Generators


@change
def a_generator_of_torch(model: Changing, x: Tensor) -> Tensor:
    return x + torch.rand(1, generator=model.noise)


@change
def a_generator_of_python(model: Changing, x: Tensor) -> Tensor:
    return x + model.python.random()


@change
def a_generator_of_numpy(model: Changing, x: Tensor) -> Tensor:
    return x + float(model.numpy.random())


@change
def an_old_generator_of_numpy(model: Changing, x: Tensor) -> Tensor:
    return x + float(model.legacy.rand())


ENCLOSED = torch.Generator().manual_seed(3)


@change
def a_generator_of_the_file(model: Changing, x: Tensor) -> Tensor:
    return x + torch.rand(1, generator=ENCLOSED)


@change
def all_global_generators(model: Changing, x: Tensor) -> Tensor:
    return x + random.random() + float(np.random.rand()) + torch.rand(())


@harm
def numbers_of_an_iterator(model: Changing, x: Tensor) -> Tensor:
    return x * next(model.numbers)


@harm
def draws_of_a_generator_function(model: Changing, x: Tensor) -> Tensor:
    return x * next(model.draws)


# Containers, counters, objects


@change
def a_count(model: Changing, x: Tensor) -> Tensor:
    model.calls += 1
    return x * model.calls


@change
def a_count_of_the_class(model: Changing, x: Tensor) -> Tensor:
    Changing.calls_of_the_class += 1
    return x * Changing.calls_of_the_class


@change
def a_count_of_the_file(model: Changing, x: Tensor) -> Tensor:
    global calls_of_the_module
    calls_of_the_module += 1
    return x * calls_of_the_module


@change
def a_count_of_the_function(model: Changing, x: Tensor) -> Tensor:
    function: Any = a_count_of_the_function
    function.calls = getattr(function, "calls", 0) + 1
    return x * function.calls


@change
def a_count_in_an_object(model: Changing, x: Tensor) -> Tensor:
    model.settings.calls += 1
    Settings.calls_of_all += 1
    model.settings.inner.history.append(model.settings.calls)
    return x * sum(model.settings.inner.history) * Settings.calls_of_all


@change
def a_count_in_a_slot(model: Changing, x: Tensor) -> Tensor:
    model.slotted.calls += 1
    return x * model.slotted.calls


@change
def losses_in_a_list(model: Changing, x: Tensor) -> Tensor:
    model.losses.append(x.detach().mean())
    return x + torch.stack(model.losses).sum()


@change
def a_list_that_is_turned(model: Changing, x: Tensor) -> Tensor:
    model.losses.append(torch.ones(()) * len(model.losses))
    model.losses.reverse()
    return x + model.losses[0]


@change
def tensors_in_a_dataclass(model: Changing, x: Tensor) -> Tensor:
    model.record.seen.append(x.detach().mean())
    return x + torch.stack(model.record.seen).sum()


@change
def the_last_of_a_deque(model: Changing, x: Tensor) -> Tensor:
    model.last.append(model.last[-1] + 1)
    return x * sum(model.last)


@change
def a_counter(model: Changing, x: Tensor) -> Tensor:
    model.counts["a"] += 1
    model.counts["b"] += 2
    return x * model.counts["a"]


@change
def a_defaultdict(model: Changing, x: Tensor) -> Tensor:
    model.table["calls"] += 1
    return x * len(model.table) * model.table["calls"]


@change
def a_set(model: Changing, x: Tensor) -> Tensor:
    model.names.add(len(model.names) + 1)
    return x * len(model.names)


@change
def the_order_of_a_dict(model: Changing, x: Tensor) -> Tensor:
    model.order.move_to_end(next(iter(model.order)))
    return x * next(iter(model.order.values()))


@change
def bytes_in_place(model: Changing, x: Tensor) -> Tensor:
    model.bytes[0] += 1
    return x * model.bytes[0]


@change
def an_array_of_numbers(model: Changing, x: Tensor) -> Tensor:
    model.numbers_in_c.append(model.numbers_in_c[-1] + 1)
    return x * sum(model.numbers_in_c)


@change
def a_number_of_c(model: Changing, x: Tensor) -> Tensor:
    model.shared.value += 1
    return x * model.shared.value


@functools.lru_cache
def noise_for(length: int) -> Tensor:
    return torch.rand(length, 1)


@change
def results_that_are_kept(model: Changing, x: Tensor) -> Tensor:
    return x + noise_for(x.shape[1])


@change
def hooks_of_a_parameter(model: Changing, x: Tensor) -> Tensor:
    model.inputs.weight.register_hook(lambda grad: grad * 1.1)
    return x


@change
def an_attribute_that_comes_and_goes(model: Changing, x: Tensor) -> Tensor:
    if hasattr(model, "odd"):
        del model.odd
        return x
    model.odd = True
    return x * 2


@change
def a_module_that_is_added(model: Changing, x: Tensor) -> Tensor:
    model.steps.append(nn.Identity())
    return x * len(model.steps)


@change
def a_module_that_is_replaced(model: Changing, x: Tensor) -> Tensor:
    model.slow = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
    return x + model.slow(x)


@change
def the_flag_of_a_module(model: Changing, x: Tensor) -> Tensor:
    model.norm.training = not model.norm.training
    return x


@change
def a_hook_that_the_forward_adds(model: Changing, x: Tensor) -> Tensor:
    model.out.register_forward_hook(lambda module, args, output: output * 1.1)
    return x


# Models that catch what stops them


@harm
def a_change_whose_error_is_caught(model: Changing, x: Tensor) -> Tensor:
    with suppress(Exception):
        model.memory.data.add_(0.1)
    return x + model.memory.mean(0)


@harm
def a_change_where_everything_is_caught(model: Changing, x: Tensor) -> Tensor:
    for _ in range(2):
        try:
            model.memory.data.add_(0.1)
        except BaseException:
            model.calls += 1
    return x + model.memory.mean(0)


def counting_hook() -> Callable[..., Any]:
    calls, seen = 0, list[float]()

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        seen.append(calls)
        return output * calls + sum(seen)

    return hook


class CountingHook:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        self.calls += 1
        return output * self.calls

    def method(self, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return self(module, args, output)


def given(counts: list[int], module: nn.Module, args: Any, output: Tensor) -> Tensor:
    counts.append(1)
    return output * len(counts)


HOOKS: dict[str, Callable[[], Callable[..., Any]]] = {
    "a closure": counting_hook,
    "an object": CountingHook,
    "a method": lambda: CountingHook().method,
    "a partial": lambda: partial(given, []),
}


def nothing(*_: object) -> None:
    """Logs nothing."""


def probed(model: Changing, x: Tensor, step: int) -> None:
    """Makes an extra forward, which may be stopped."""
    with suppress(ForwardStopped):
        probe(model, x, None, TapLog(), batch_dim=0)


def trained(make: Callable[[], Changing], log: Callable[..., object]) -> list[Any]:
    """Everything after some steps, each of which is logged before the optimizer's step."""
    global calls_of_the_module
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    ENCLOSED.manual_seed(3)
    cache_of_the_module.clear()
    Changing.calls_of_the_class = Settings.calls_of_all = calls_of_the_module = 0
    vars(a_count_of_the_function).clear()
    noise_for.cache_clear()
    model, losses = make(), list[float]()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for step in range(STEPS):
        x = torch.randn(3, 5, WIDTH)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        before = x.clone()
        log(model, x, step)
        assert torch.equal(x, before)
        optimizer.step()
        losses.append(loss.item())
    return [losses, *states(model)]


def states(model: Changing) -> list[Any]:
    tensors = [*model.state_dict().values(), model.cache, model.state, model.mean, model.variance]
    tensors += [model.sparse.to_dense(), *model.hidden[0].state_dict().values()]
    flags = [p.requires_grad for p in model.parameters()] + [m.training for m in model.modules()]
    grads = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    held = [model.counts, model.table, model.names, model.order, model.bytes, model.last]
    held += [model.calls, model.settings.calls, model.settings.inner.history, model.slotted.calls]
    names = [name for name in vars(model) if name != "_compiled_call_impl"]  # while it is watched
    held += [list(model.state_dict()), names, len(model.losses), repr(model.numbers)]
    random_states = [random.getstate(), np.random.get_state()[1].tolist()]
    return [
        *(tensor.tolist() for tensor in tensors),
        *(model.array.tolist(), flags, grads, *map(str, held), *map(str, random_states)),
        *(torch.get_rng_state().tolist(), model.noise.get_state().tolist()),
    ]


@pytest.mark.parametrize("name", CHANGES)
def test_training_is_bitwise_the_same(name: str) -> None:
    def make() -> Changing:
        return Changing(CHANGES[name])

    assert trained(make, probed) == trained(make, nothing)


@pytest.mark.parametrize(
    "name",
    ["a_running_mean_of_parameters", "words_that_are_renormalised", "losses_in_a_list",
     "the_input", "a_generator_of_numpy"],
)  # fmt: skip
def test_so_it_is_with_the_monitor_in_its_default_settings(name: str, tmp_path: Path) -> None:
    """With a capture at every step: what was stopped is seen from the next step on."""

    def make() -> Changing:
        return Changing(CHANGES[name])

    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        watched = trained(make, lambda model, x, step: monitor.log_attention(model, x, step=step))
    assert watched == trained(make, nothing)
    steps = [line["metadata"]["step"] for line in history(tmp_path)]
    said = "\n".join(summary(tmp_path)["warnings"])
    assert steps == [*range(name in HARM, STEPS)]
    assert ("was stopped" in said) == (name in HARM)


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_are_put_back_with_what_they_hold(kind: str) -> None:
    def make() -> Changing:
        model = Changing(lambda model, x: x)
        model.out.register_forward_hook(HOOKS[kind]())
        return model

    assert trained(make, probed) == trained(make, nothing)


@pytest.mark.parametrize("name", CHANGES)
def test_what_can_be_put_back_is_not_stopped(name: str) -> None:
    """So that such a model has a first map at once."""
    model = Changing(CHANGES[name])
    model.inputs.weight.grad = torch.zeros(3 * WIDTH, WIDTH)
    with pytest.raises(ForwardStopped) if name in HARM else nullcontext():
        probe(model, torch.randn(3, 5, WIDTH), None, TapLog(), batch_dim=0)


def test_results_kept_beside_others_end_extra_forwards() -> None:
    """Those from before cannot be told from them, and are not needed again to be right."""
    noise_for.cache_clear()
    noise_for(99)
    with pytest.raises(ForwardStopped, match="the cache of noise_for"):
        probe(
            Changing(results_that_are_kept), torch.randn(3, 5, WIDTH), None, TapLog(), batch_dim=0
        )


class Reserved:
    """An object that cannot be looked at."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # torch asks for it
            return Reserved
        raise RuntimeError("none of your business")


UNUSED: dict[str, Callable[[], Any]] = {
    "reserved": Reserved,
    "the system's generator": random.SystemRandom,
    "an iterator": lambda: iter([1]),
    "a function": lambda: open,
}


@pytest.mark.parametrize("kind", UNUSED)
def test_what_a_model_does_not_use_does_not_stop_it(kind: str) -> None:
    model, log = Changing(lambda model, x: x), TapLog()
    model.held = held = UNUSED[kind]()
    probe(model, torch.randn(3, 5, WIDTH), None, log, batch_dim=0)
    assert len(log.calls) == 1
    assert model.held is held


IRREVERSIBLE: dict[str, Callable[[], Any]] = {
    "a NumPy array of 512 MiB": lambda: np.empty(1 << 26),
    "a list of 2,000,001 items": lambda: [0] * 2_000_001,
    "a queue.Queue": queue.Queue,
    "a _io.StringIO": io.StringIO,
    "a _hashlib.HASH": hashlib.sha256,
    "a mmap.mmap": lambda: mmap.mmap(-1, 8),
    "a sqlite3.Connection": lambda: sqlite3.connect(":memory:"),
}


@pytest.mark.parametrize("why", IRREVERSIBLE)
def test_what_cannot_be_put_back_is_left_to_the_own_forward(why: str) -> None:
    model = Changing(lambda model, x: x)
    model.held = IRREVERSIBLE[why]()
    with pytest.raises(ForwardStopped, match=why):
        probe(model, torch.randn(3, 5, WIDTH), None, TapLog(), batch_dim=0)
