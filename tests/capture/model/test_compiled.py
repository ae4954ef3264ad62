"""Compiled models: seen in the probe, and neither compiled again nor run eagerly because of it."""

import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from support.tapping import probed_calls
from torch import Tensor, nn
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.checkpoint import checkpoint

from attnmon.capture import compilations, discover, reaches_compiled

WIDTH, HEADS = 16, 4
Compile = Callable[[nn.Module], nn.Module]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.norm(self.encoder(x).mT)
        return result


def whole(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="aot_eager")  # type: ignore[return-value]


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="aot_eager")
    return model


def by_region(model: nn.Module) -> nn.Module:
    for layer in model.encoder.layers:  # type: ignore[union-attr]
        layer.compile(backend="aot_eager")
    return model


WAYS = [whole, in_place, by_region]


@pytest.fixture(autouse=True, scope="module")
def compiler_is_loaded() -> None:
    """Loading it opens a semaphore, once a process, that none of the tests would have opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.compile(torch.relu, backend="aot_eager")(torch.ones(1))


@pytest.fixture(autouse=True)
def no_code_of_another_test() -> None:
    torch.compiler.reset()


def train(compile_model: Compile, watched: bool) -> list[Tensor]:
    torch.manual_seed(0)
    model = compile_model(Model())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    x = torch.randn(3, 5, WIDTH)
    losses = []
    for step in range(4):
        stance = "default" if step == 0 else "fail_on_recompile"
        with torch.compiler.set_stance(stance):
            loss = model(x).square().mean()
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if watched:
            calls = probed_calls(model, x, None, sample=1, batch_dim=0)
            assert [call.name for call in calls] == [
                f"encoder.layers.{i}.self_attn" for i in (0, 1)
            ]
    return [*losses, *model.state_dict().values(), torch.get_rng_state()]


@pytest.mark.parametrize("compile_model", WAYS)
def test_nothing_is_compiled_again_and_training_is_bitwise_the_same(compile_model: Compile) -> None:
    alone, watched = train(compile_model, False), train(compile_model, True)
    assert all(map(torch.equal, alone, watched))


class WithFunction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.activation = torch.compile(lambda x: x.relu() * 2, backend="eager")

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.model(x))


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = checkpoint(self.model, x, use_reentrant=False)
        return result


@pytest.mark.parametrize(
    ("build", "compiled"),
    [
        (Model, False),
        (Checkpointed, False),
        (WithFunction, True),
        *((lambda way=way: way(Model()), True) for way in WAYS),
    ],
)
def test_discovery_says_whether_the_forward_is_compiled(
    build: Callable[[], nn.Module], compiled: bool
) -> None:
    assert discover(build(), torch.randn(3, 5, WIDTH), None).compiled == compiled


@torch.compile(backend="eager")
def twice(x: Tensor) -> Tensor:
    return x * 2


def thrice(x: Tensor) -> Tensor:
    return x + twice(x)


@functools.wraps(thrice)
def wrapped(x: Tensor) -> Tensor:
    return thrice(x)


def squared(x: Tensor) -> Tensor:
    return x * x


class Naming(Model):
    """Its forward names a function that calls a compiled one."""

    def forward(self, x: Tensor) -> Tensor:
        return wrapped(super().forward(x))


class Method(Model):
    def forward(self, x: Tensor) -> Tensor:
        def inner(y: Tensor) -> Tensor:
            return self.helper(y)

        return inner(super().forward(x))

    @torch.compile(backend="eager")
    def helper(self, x: Tensor) -> Tensor:
        return x * 2


class Holding(Model):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.held = function


class Flex(Model):
    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = flex_attention(x, x, x)
        return mixed


class Plain(Model):
    def forward(self, x: Tensor) -> Tensor:
        return squared(super().forward(x))


class NotCompiled(Model):
    forward = torch.compiler.disable(Model.forward)


@pytest.mark.parametrize(
    ("build", "reaches"),
    [
        (Naming, True),
        (Method, True),
        (Flex, True),
        (lambda: Holding(twice), True),
        (lambda: Holding([squared, functools.partial(twice)]), True),
        (lambda: Holding({"mix": Method().helper}), True),
        (lambda: nn.Sequential(Model(), Naming()), True),
        (Plain, False),
        (NotCompiled, False),
        (lambda: Holding([squared]), False),
        (lambda: nn.Transformer(WIDTH, HEADS, batch_first=True), False),
    ],
)
def test_compiled_functions_are_found_without_running_them(
    build: Callable[[], nn.Module], reaches: bool
) -> None:
    before = compilations()
    assert reaches_compiled(build()) == reaches
    assert compilations() == before


def test_what_is_compiled_is_counted() -> None:
    model, x = torch.compile(nn.Linear(3, 3), backend="eager"), torch.ones(1, 3)
    before = compilations()
    model(x)
    once = compilations()
    assert once > before
    model(x)
    assert compilations() == once


def test_no_attribute_of_a_class_is_asked_for() -> None:
    """One that counts how often it is asked would count otherwise."""

    class Counter:
        asked = 0

        def __get__(self, instance: object, owner: type | None = None) -> int:
            self.asked += 1
            return self.asked

    class Asking(Model):
        count = Counter()

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.count)

    assert not reaches_compiled(Asking())
    assert vars(Asking)["count"].asked == 0
