"""The extra forward: it shows what the model does in evaluation, and training never notices it."""

import random
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog, probed_calls
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from attnmon.capture import NotDivisible, discover, probe
from attnmon.capture.calls.verification import attention_weights

WIDTH, HEADS = 16, 4


class Restless(nn.Module):
    """All that an extra forward could disturb, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = nn.Transformer(WIDTH, HEADS, 1, 1, 32, dropout=0.1, batch_first=True)
        self.norm = nn.BatchNorm1d(WIDTH)
        self.frozen = nn.BatchNorm1d(WIDTH).eval()
        self.head = parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH))
        self.old_head = nn.utils.spectral_norm(nn.Linear(WIDTH, WIDTH))
        self.register_buffer("average", torch.zeros(WIDTH))
        self.register_buffer("replaced", torch.zeros(1))
        self.register_buffer("transient", torch.zeros(1), persistent=False)
        self.calls = 0
        self.last: Tensor | None = None

    def train(self, mode: bool = True) -> "Restless":
        """As people do to keep a submodule frozen."""
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        noise = random.random() + float(np.random.rand()) + torch.rand(())
        x = self.transformer(source, target) + noise
        x = self.norm(x.mT).mT + self.frozen(x.mT).mT
        F.batch_norm(x.mT, self.norm.running_mean, self.norm.running_var, training=True)
        self.average.mul_(0.9).add_(x.detach().mean((0, 1)))
        self.replaced = self.replaced + 1
        self.register_buffer(f"added_{self.calls}", torch.ones(1), persistent=False)
        if self.calls % 2:
            self.register_buffer("transient", self.transient, persistent=True)
        self.last = self.old_head(self.head(x))
        return self.last


def run(steps: int, monitored: bool, autocast: bool) -> list[Any]:
    """The state after training so many steps, with the probe before, between and after, or not."""
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    model = Restless()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    source, target = torch.randn(3, 7, WIDTH), torch.randn(3, 5, WIDTH)

    def look() -> None:
        if monitored:
            probe(model, source, target, TapLog(), sample=1, batch_dim=0)

    losses = []
    for _ in range(steps):
        look()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            look()
            loss = model(source, target).float().square().mean()
            look()
        look()
        loss.backward()
        look()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    look()
    state = [*losses, *model.state_dict().values(), *dict(model.named_buffers()).values()]
    flags = [module.training for module in model.modules()]
    states = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()]
    return [
        *state,
        list(model.state_dict()),
        model._non_persistent_buffers_set,
        flags,
        list(vars(model)),
        model.calls,
        model.last,
        *states,
    ]


@pytest.mark.parametrize("autocast", [False, True])
def test_training_is_bitwise_the_same(autocast: bool) -> None:
    """Losses, parameters, buffers, attributes and random states, the probe at every place."""
    alone, watched = (run(4, monitored, autocast) for monitored in (False, True))
    assert len(alone) == len(watched)
    for one, other in zip(alone, watched, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other


def test_nothing_is_replaced_nor_written_to() -> None:
    model = Restless()
    inputs = torch.randn(3, 7, WIDTH), torch.randn(3, 5, WIDTH)
    model(*inputs).sum().backward()
    tensors = [*model.parameters(), *model.buffers()]
    before = [(id(t), t._version, id(t.grad)) for t in tensors]
    probe(model, *inputs, TapLog(), batch_dim=0)
    after = [*model.parameters(), *model.buffers()]
    assert [(id(t), t._version, id(t.grad)) for t in after] == before


def test_an_exception_of_the_model_passes_with_everything_put_back() -> None:
    model = Restless()
    inputs = torch.randn(3, 7, WIDTH), torch.randn(3, 5, WIDTH + 1)
    flags = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="must be equal"):
        probe(model, *inputs, TapLog(), batch_dim=0)
    assert [module.training for module in model.modules()] == flags
    assert model.calls == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()
    assert torch.is_autocast_cache_enabled()
    assert torch._C._len_torch_function_stack() == 0


def test_the_model_is_seen_in_evaluation_without_gradients() -> None:
    seen = Mock()  # a list would be put back

    class Curious(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inference = torch.is_inference_mode_enabled()
            caching = torch.is_autocast_cache_enabled()
            seen(self.training, torch.is_grad_enabled(), inference, caching)
            return F.scaled_dot_product_attention(x, x, x)

    probe(Curious(), torch.randn(2, 4, 5, 8), None, TapLog(), batch_dim=0)
    seen.assert_called_once_with(False, False, False, False)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_batch_dimension_is_found(batch_first: bool, batch: int) -> None:
    """`nn.Transformer` is sequence first by default; of a batch of 1 only the lengths tell."""
    model = nn.Transformer(WIDTH, HEADS, 1, 1, 32, dropout=0.0, batch_first=batch_first)
    source, target = torch.randn(batch, 7, WIDTH), torch.randn(batch, 5, WIDTH)
    if not batch_first:
        source, target = source.transpose(0, 1), target.transpose(0, 1)
    found = discover(model, source, target, sample=batch - 1)
    assert found.batch_dim == (0 if batch_first else 1)
    assert (found.sample, found.batch) == (batch - 1, batch)
    assert [(s.queries, s.keys, s.batch) for s in found.call_infos] == [
        (7, 7, 1), (5, 5, 1), (5, 7, 1),
    ]  # fmt: skip


def test_inputs_without_a_batch_are_recognised() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS)
    found = discover(attention, torch.randn(5, WIDTH), None)
    assert found.batch_dim is None
    assert found.call_infos[0].queries == 5


def test_sequences_of_one_position_keep_the_first_dimension() -> None:
    found = discover(
        nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), torch.randn(3, 1, WIDTH), None
    )
    assert found.batch_dim == 0


def test_an_error_of_the_model_is_the_one_for_the_first_dimension() -> None:
    model = nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match=r"1x5 and 4x4"):
        discover(model, torch.randn(3, 5), None)


def test_the_sample_shown_is_the_one_of_the_whole_batch() -> None:
    """With a mask of its own for each sample and head."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    x = torch.randn(3, 5, WIDTH, dtype=torch.float64)
    mask = torch.randn(3 * HEADS, 5, 5, dtype=torch.float64)
    expected = attention(x, x, x, attn_mask=mask, average_attn_weights=False)[1][2]
    calls = probed_calls(attention, (x, x, x), {"attn_mask": mask}, sample=2)
    weights = attention_weights(calls[0].of_sample(0), dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-12)


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled])
def test_wrapped_models_are_called_without_their_wrapper(
    wrap: Callable[[nn.Module], nn.Module],
) -> None:
    model = wrap(nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True))
    calls = probed_calls(model, torch.randn(2, 5, WIDTH), None)
    assert [call.name for call in calls] == ["self_attn"]


def test_causality_is_read_from_the_mask_and_from_the_weights() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 5, WIDTH)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for need_weights in (False, True):
        options = {"attn_mask": mask, "need_weights": need_weights}
        assert discover(attention, (x, x, x), options).call_infos[0].causal
        assert (
            not discover(attention, (x, x, x), {"need_weights": need_weights}).call_infos[0].causal
        )


@pytest.mark.parametrize("need_weights", [False, True])
def test_tensors_are_followed_only_where_that_is_needed(need_weights: bool) -> None:
    """With kernels alone, the cheaper tap sees the same."""
    model, x = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), torch.randn(2, 5, WIDTH)
    options = {"need_weights": need_weights}
    found = discover(model, (x, x, x), options)
    assert found.handwritten == need_weights
    calls = probed_calls(model, (x, x, x), options, batch_dim=0, handwritten=False)
    assert len(calls) == (0 if need_weights else 1)


def test_parametrizations_and_their_caches_stay() -> None:
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)))
    with parametrize.cached():
        cached = model[0].weight
        probe(model, torch.randn(2, WIDTH), None, TapLog(), batch_dim=0)
        assert model[0].weight is cached


@pytest.mark.filterwarnings("ignore:.*torch.jit.")
def test_scripted_submodules_are_put_back_by_value() -> None:
    """Their buffers are held where no attribute reaches them."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.count.add_(1)
            return x + self.count

    model = nn.Sequential(torch.jit.script(Counting()), torch.jit.script(nn.BatchNorm1d(4)))
    x = torch.randn(3, 4)
    model(x)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probe(model, x, None, TapLog(), batch_dim=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


class WholeBatchOnly(nn.Module):
    """Its batch is written into its code, as in many a script."""

    def forward(self, x: Tensor) -> Tensor:
        query = x.view(3, 5, HEADS, -1).transpose(1, 2)
        return F.scaled_dot_product_attention(query, query, query)


def test_a_model_that_takes_its_whole_batch_only_is_not_cut() -> None:
    with pytest.raises(NotDivisible, match="cannot be called with one sample"):
        discover(WholeBatchOnly(), torch.randn(3, 5, WIDTH), None)


class Mixing(nn.Module):
    """Each sample attends to its neighbour in the batch: one alone attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        query, key = self.project(x)[:, None], self.project(x.roll(1, 0))[:, None]
        return F.scaled_dot_product_attention(query, key, key)


def test_samples_that_attend_to_each_other_are_found_by_running_two() -> None:
    found = discover(Mixing(), torch.randn(3, 5, WIDTH), None)
    assert found.call_infos == ()
    assert [reason for _, _, reason in found.refusals] == [
        "its queries attend to keys of other samples: it is no map of one sample"
    ]


class Graphs(nn.Module):
    """The nodes of several graphs as one tensor, and the graph of each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.asked = nn.Parameter(torch.randn(1, 3, WIDTH))

    def forward(self, nodes: Tensor, graph: Tensor) -> Tensor:
        count = int(graph.max()) + 1
        dense = torch.zeros(count, int(graph.bincount().max()), WIDTH)
        place = torch.cat([torch.arange(int(size)) for size in graph.bincount()])
        dense[graph, place] = nodes
        return self.attention(self.asked.expand(count, -1, -1), dense, dense)[0]  # type: ignore[no-any-return]


def test_nodes_of_graphs_are_not_taken_for_samples() -> None:
    graph = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    with pytest.raises(NotDivisible, match="grow with the number of samples"):
        discover(Graphs(), (torch.randn(7, WIDTH), graph), None, sample=0)


class Placed(nn.Module):
    """Its places are those of all the patches that it is told of: one row alone is broadcast."""

    def forward(self, rows: Tensor, sizes: Tensor) -> Tensor:
        hidden = (rows + torch.randn(int(sizes.sum()), WIDTH))[None, None]
        parts = hidden.split(sizes.tolist(), 2)
        return torch.cat([F.scaled_dot_product_attention(part, part, part) for part in parts], 2)


def test_a_sample_that_fits_only_because_it_is_broadcast_is_none() -> None:
    with pytest.raises(NotDivisible, match="must match the size"):
        discover(Placed(), (torch.randn(9, WIDTH), torch.tensor([2, 4, 3])), None, sample=1)
