"""Models whose forward changes nothing that was there before: none of them is stopped."""

import copy
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog
from torch import Tensor, nn
from torch.ao.quantization import (
    FakeQuantize,
    HistogramObserver,
    MovingAverageMinMaxObserver,
    quantize_dynamic,
)
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from attnmon.capture import ForwardStopped, probe

WIDTH = 16
X = torch.randn(3, 5, WIDTH)

pytestmark = pytest.mark.filterwarnings("ignore")


class Attending(nn.Module):
    """One attention after any other module."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.inputs = inner, nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.inputs(self.inner(x)).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value)


class Calling(nn.Module):
    """Calls a function with a linear layer and the input."""

    def __init__(self, function: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.function = nn.Linear(WIDTH, WIDTH), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.linear, x)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, 2, batch_first=True, dropout=0.1)

    def forward(self, x: Tensor) -> Tensor:
        self.lstm.flatten_parameters()
        return self.lstm(x)[0]  # type: ignore[no-any-return]


class Rotary(nn.Module):
    """Frequencies that are computed anew for longer sequences, and put back for short ones."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.arange(WIDTH) / WIDTH, persistent=False)
        self.original, self.longest = self.frequencies, 4

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.longest:
            self.register_buffer("frequencies", self.original * 2, persistent=False)
            self.longest = x.shape[1]
        return x * self.frequencies


class Observed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.observers = nn.ModuleList([HistogramObserver(), MovingAverageMinMaxObserver()])

    def forward(self, x: Tensor) -> Tensor:
        for observer in self.observers:
            observer(x)
        return x


def own_memory_of_all_kinds(linear: nn.Linear, x: Tensor) -> Tensor:
    cache = torch.zeros(len(x), 8, WIDTH)
    cache[:, : x.shape[1]] = x
    cache.index_copy_(1, torch.arange(x.shape[1]), x)
    torch._foreach_add_(list(cache.unbind(0)), 1.0)
    torch.add(x, 1, out=torch.empty_like(x))
    cache.view(-1, WIDTH).t_().t_()
    cache.unsqueeze_(0).squeeze_(0)
    cache.untyped_storage()[0] = 1
    return cache[:, : x.shape[1]].contiguous().resize_(len(x), x.shape[1], WIDTH)


def weights_of_its_own(linear: nn.Linear, x: Tensor) -> Tensor:
    fast = copy.deepcopy(linear)
    with torch.no_grad():
        fast.weight.mul_(2)
        fast.weight.data.add_(1)
        fast.bias.data = fast.bias.data * 2
    return fast(x)  # type: ignore[no-any-return]


def constants(linear: nn.Linear, x: Tensor) -> Tensor:
    made = [torch.tensor([1.0]), torch.Tensor([1.0]), torch.FloatTensor(1).zero_()]
    made += [torch.from_numpy(np.arange(1.0, dtype=np.float32)), torch.as_tensor(np.float32([3.0]))]
    return x + torch.stack([tensor.mul_(2) for tensor in made]).sum()


def gradient_of_the_input(linear: nn.Linear, x: Tensor) -> Tensor:
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        return torch.autograd.grad(linear(y).sum(), y)[0]


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clone().mul_(2)


@functools.lru_cache
def cached_mask(length: int) -> Tensor:
    return torch.ones(length, 1).mul_(2)


@torch.library.custom_op("of_others::doubled", mutates_args=())
def doubled(x: Tensor) -> Tensor:
    return x * 2


def pruned() -> nn.Linear:
    linear = nn.Linear(WIDTH, WIDTH)
    prune.l1_unstructured(linear, "weight", 0.3)
    return linear


def square() -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH)


INNER: dict[str, Callable[[], nn.Module]] = {
    "spectral norm": lambda: parametrizations.spectral_norm(square()),
    "spectral norm, the old one": lambda: nn.utils.spectral_norm(square()),
    "weight norm": lambda: parametrizations.weight_norm(square()),
    "weight norm, the old one": lambda: nn.utils.weight_norm(square()),
    "orthogonal": lambda: parametrizations.orthogonal(square()),
    "pruned": pruned,
    "batch norm": lambda: nn.BatchNorm1d(5),
    "instance norm": lambda: nn.InstanceNorm1d(5, track_running_stats=True),
    "synchronised norm": lambda: nn.SyncBatchNorm(5),
    "in place": lambda: nn.Sequential(
        square(), nn.ReLU(True), nn.Dropout(0.1, True), nn.SiLU(True)
    ),
    "recurrent": Recurrent,
    "rotary": Rotary,
    "observers": Observed,
    "fake quantised": lambda: nn.Sequential(FakeQuantize(), square()),
    "quantised": lambda: quantize_dynamic(nn.Sequential(square()), {nn.Linear}),
    "scripted": lambda: torch.jit.script(nn.Sequential(square(), nn.ReLU(True), nn.BatchNorm1d(5))),
    "compiled inside": lambda: torch.compile(square(), backend="eager"),  # type: ignore[dict-item]
    "checkpointed": lambda: Calling(lambda f, x: checkpoint(f, x, use_reentrant=False)),
    "checkpointed, reentrant": lambda: Calling(lambda f, x: checkpoint(f, x, use_reentrant=True)),
    "vmap": lambda: Calling(lambda f, x: torch.vmap(lambda row: f(row).clone().mul_(2))(x)),
    "functional call": lambda: Calling(
        lambda f, x: torch.func.functional_call(
            f, {name: p * 2 for name, p in f.named_parameters()}, (x,)
        )
    ),
    "functional gradient": lambda: Calling(
        lambda f, x: x + torch.func.grad(lambda y: f(y).sum())(x)
    ),
    "gradient of the input": lambda: Calling(gradient_of_the_input),
    "inference mode": lambda: Calling(lambda f, x: torch.inference_mode()(lambda: f(x).mul_(2))()),
    "a function's own backward": lambda: Calling(lambda f, x: Doubling.apply(x)),
    "its own memory": lambda: Calling(own_memory_of_all_kinds),
    "its own weights": lambda: Calling(weights_of_its_own),
    "constants": lambda: Calling(constants),
    "a cached mask": lambda: Calling(lambda f, x: x * cached_mask(x.shape[1])),
    "values read": lambda: Calling(lambda f, x: x * x.sum().item() + f.bias.detach().numpy()[0]),
    "complex": lambda: Calling(lambda f, x: torch.fft.ifft(torch.fft.fft(x) * 2).real),
    "sparse": lambda: Calling(lambda f, x: x + torch.eye(WIDTH).to_sparse().mul_(2).to_dense()[0]),
    "a custom operator": lambda: Calling(lambda f, x: doubled(x) + doubled(f.bias)),
    "a branch": lambda: Calling(
        lambda f, x: torch.cond(x.sum() > 0, lambda y: f(y), lambda y: y - 1, (x,))
    ),
    "another thread": lambda: Calling(
        lambda f, x: ThreadPoolExecutor(1).submit(torch.no_grad()(f), x).result()
    ),
    "gradients dropped": lambda: Calling(lambda f, x: (f.zero_grad(), f(x))[1]),
    "moved to where it is": lambda: Calling(lambda f, x: f.to(torch.float32)(x)),
}


@pytest.mark.parametrize("name", INNER)
def test_it_is_not_stopped(name: str) -> None:
    model, log = Attending(INNER[name]()), TapLog()
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.clone() for tensor in tensors]
    probe(model, X, None, log, batch_dim=0)
    assert len(log.calls) == 1
    assert all(map(torch.equal, tensors, before))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_nor_under_autocast(dtype: torch.dtype) -> None:
    log = TapLog()
    with torch.autocast("cpu", dtype):
        probe(Attending(nn.LayerNorm(WIDTH)), X, None, log, batch_dim=0)
    assert log.calls[0].query is not None
    assert log.calls[0].query.dtype == dtype


class Flexible(nn.Module):
    """Flex attention with a learned bias and a block mask, which are Python functions."""

    def __init__(self, change: bool = False) -> None:
        super().__init__()
        self.bias, self.change = nn.Parameter(torch.zeros(64)), change

    def forward(self, x: Tensor) -> Tensor:
        def biased(score: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            if self.change:
                self.bias.data.add_(1)
            return score + self.bias[query]

        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, 64, 64, device="cpu")
        return flex_attention(x[:, None], x[:, None], x[:, None], biased, mask)  # type: ignore[return-value]


def test_flex_attention_is_seen_through() -> None:
    x, log = torch.randn(2, 64, WIDTH), TapLog()
    probe(Flexible(), x, None, log, batch_dim=0)
    assert [call.source for call in log.calls] == ["flex_attention"]
    model = Flexible(change=True)
    with pytest.raises(ForwardStopped, match="the parameter bias"):
        probe(model, x, None, log, batch_dim=0)
    assert not model.bias.any()


def test_what_nobody_can_see_through_is_named() -> None:
    def double(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return carry + x, carry + x

    scan = torch._higher_order_ops.scan
    model = Attending(Calling(lambda f, x: x + scan(double, x[0], x)[0]))
    with pytest.raises(ForwardStopped, match="would have run scan"):
        probe(model, X, None, TapLog(), batch_dim=0)


def test_parameters_that_are_not_there_yet_are_left_to_the_own_forward() -> None:
    model = Attending(nn.LazyLinear(WIDTH))
    with pytest.raises(ForwardStopped, match=r"inner\.weight, which is lazy"):
        probe(model, X, None, TapLog(), batch_dim=0)
    assert torch.nn.parameter.is_lazy(model.inner.weight)


@torch.library.custom_op("of_others::scaled_", mutates_args=("x",))
def scaled_(x: Tensor) -> None:
    x.mul_(2)


@torch.library.custom_op("of_others::scaled_in_secret", mutates_args=())
def scaled_in_secret(x: Tensor) -> Tensor:
    x.mul_(2)
    return x + 1


def test_operators_of_others_that_write_are_stopped_or_put_back() -> None:
    """Also those that do not say that they write."""
    model = Attending(Calling(lambda f, x: (scaled_(f.bias.detach()), f(x))[1]))
    bias = model.inner.linear.bias.clone()  # type: ignore[union-attr]
    with pytest.raises(ForwardStopped, match=r"of_others\.scaled_"):
        probe(model, X, None, TapLog(), batch_dim=0)
    assert torch.equal(model.inner.linear.bias, bias)  # type: ignore[union-attr]
    model = Attending(Calling(lambda f, x: f(x) + scaled_in_secret(f.bias.detach())))
    bias = model.inner.linear.bias.clone()  # type: ignore[union-attr]
    probe(model, X, None, TapLog(), batch_dim=0)
    assert torch.equal(model.inner.linear.bias, bias)  # type: ignore[union-attr]


def test_memory_that_is_freed_and_given_out_again_is_not_mistaken() -> None:
    """What the forward has made and freed, the same addresses, may be taken by others."""
    model = Attending(Calling(lambda f, x: x))
    freed: list[Any] = []

    def others_take_its_memory(f: nn.Linear, x: Tensor) -> Tensor:
        for _ in range(50):
            torch.empty(1000).fill_(1)
        with torch.utils._python_dispatch._disable_current_modes():
            freed.extend(torch.empty(1000) for _ in range(50))
        freed[7].fill_(2)
        return x

    model.inner = Calling(others_take_its_memory)
    with pytest.raises(ForwardStopped, match=r"aten\.fill_"):
        probe(model, X, None, TapLog(), batch_dim=0)


def test_what_another_thread_writes_is_noticed_afterwards() -> None:
    """It cannot be stopped: operators are seen on one thread. No such forward is made again."""

    def halved(f: nn.Linear) -> None:
        f.weight.data.mul_(0.5)
        f.weight.detach().mul_(2)

    model = Attending(
        Calling(lambda f, x: (ThreadPoolExecutor(1).submit(halved, f).result(), f(x))[1])
    )
    with pytest.raises(ForwardStopped, match=r"written to inner\.linear\.weight"):
        probe(model, X, None, TapLog(), batch_dim=0)
