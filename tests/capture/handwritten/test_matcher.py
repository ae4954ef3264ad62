"""Attention written by hand, in the ways people write it; and what only looks like it."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog, tapped, tapped_calls
from torch import Tensor, nn

from attnmon.capture import AttentionCall, CallListener, Tap, module_names
from attnmon.capture.calls.verification import output_error

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 5, 7, 8
Q = torch.randn(BATCH, HEADS, QUERIES, WIDTH)
K = torch.randn(BATCH, HEADS, KEYS, WIDTH)
V = torch.randn(BATCH, HEADS, KEYS, 6)
SCALE = 1 / math.sqrt(WIDTH)
MASK = torch.arange(KEYS) < torch.tensor([[KEYS], [4]])
EXPECTED = (Q @ K.mT * SCALE).softmax(-1)
PEAKS = (Q @ K.mT * SCALE).amax((-1, -2))
MASKED = (Q @ K.mT * SCALE).masked_fill(~MASK[:, None, None], -math.inf).softmax(-1)


class Named(nn.Module):
    """A module around a function, so that the attention in it has a name and a number of heads."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self.inner = Inner(function)

    def forward(self) -> object:
        return self.inner()


class Inner(nn.Module):
    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self.num_heads = HEADS
        self.function = function

    def forward(self) -> object:
        return self.function()


def operators() -> Tensor:
    scores = (Q @ K.transpose(-2, -1)) / math.sqrt(WIDTH)
    return F.dropout(scores.softmax(dim=-1), 0.5, training=False) @ V


def in_place() -> Tensor:
    scores = torch.matmul(Q, K.mT)
    scores *= SCALE
    scores -= scores.amax(-1, keepdim=True)
    return torch.matmul(torch.softmax(scores, 3), V)


def half_of_a_softmax_module() -> Tensor:
    scores = torch.einsum("bhqd,bhkd->bhqk", Q.double() * SCALE, K.double())
    return nn.Softmax(dim=-1)(scores.float()).to(V.dtype) @ V


def heads_folded() -> Tensor:
    query, key, value = (tensor.flatten(0, 1) for tensor in (Q, K, V))
    scores = torch.baddbmm(torch.zeros(1, QUERIES, KEYS), query, key.mT, alpha=SCALE)
    return torch.bmm(F.softmax(scores, -1), value)


def heads_unfolded_and_folded_again() -> Tensor:
    """As in fairseq and BART."""
    query, key, value = (tensor.flatten(0, 1) for tensor in (Q, K, V))
    scores = torch.bmm(query * SCALE, key.transpose(1, 2)).view(BATCH, HEADS, QUERIES, KEYS)
    weights = F.softmax(scores + torch.zeros(()), dim=-1, dtype=torch.float32)
    return torch.bmm(weights.view(BATCH * HEADS, QUERIES, KEYS), value)


def values_first() -> Tensor:
    """As in SAGAN and in latent diffusion: value · weightsᵀ."""
    weights = torch.softmax(Q @ K.mT * SCALE, dim=-1)
    return V.mT @ weights.permute(0, 1, 3, 2)


def keys_down() -> Tensor:
    """The scores transposed, and normalised over their rows."""
    weights = torch.softmax(K @ Q.mT * SCALE, dim=-2)
    return V.mT @ weights


def with_a_sink() -> Tensor:
    """A logit that is no key takes part; as large as it is negative it takes nothing."""
    scores = torch.cat([Q @ K.mT * SCALE, torch.full((BATCH, HEADS, QUERIES, 1), -1e9)], dim=-1)
    return scores.softmax(-1)[..., :-1] @ V


WAYS = [
    operators, in_place, half_of_a_softmax_module, heads_folded, heads_unfolded_and_folded_again,
    values_first, keys_down, with_a_sink,
]  # fmt: skip


def assert_logits(call: AttentionCall, peaks: Tensor) -> None:
    """Of each sample of which they were seen; the first is always one."""
    assert call.largest_logits is not None
    for sample in range(BATCH if call.largest_logits.sample is None else 1):
        seen = call.of_sample(sample).largest_logits
        assert seen is not None
        torch.testing.assert_close(seen.values, peaks[sample], check_dtype=False)


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_writing_attention(way: Callable[[], Tensor]) -> None:
    model = Named(way)
    (call,) = tapped_calls(model, model)
    assert (call.name, call.source, call.heads) == ("inner", "softmax", HEADS)
    torch.testing.assert_close(call.weights, EXPECTED)
    assert output_error(call) < 1e-5
    assert output_error(call.of_sample(1)) < 1e-5
    assert_logits(call, torch.zeros(BATCH, HEADS) if way is in_place else PEAKS)


MASKINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "masked_fill": lambda s: s.masked_fill(~MASK[:, None, None], -math.inf).softmax(-1),
    "in place": lambda s: s.masked_fill_(~MASK[:, None, None], -1e9).softmax(-1),
    "where": lambda s: torch.where(MASK[:, None, None], s, -torch.inf).softmax(-1),
    "added": lambda s: torch.softmax((~MASK[:, None, None]) * -1e9 + s, -1),
    "zero afterwards": lambda s: (
        s.masked_fill(~MASK[:, None, None], -1e9).softmax(-1).masked_fill(~MASK[:, None, None], 0)
    ),
}


@pytest.mark.parametrize("masking", MASKINGS.values(), ids=MASKINGS)
def test_ways_of_masking(masking: Callable[[Tensor], Tensor]) -> None:
    (call,) = tapped_calls(nn.Module(), lambda: masking(Q @ K.mT * SCALE) @ V)
    torch.testing.assert_close(call.weights, MASKED)
    assert (call.weights[1, :, :, 4:] == 0).all()


def letters(order: str, tensor: Tensor) -> Tensor:
    return tensor.permute(["bhnd".index(c) for c in order]).contiguous()


EINSUMS = [
    ("bhnd", "bhqd,bhkd->bhqk", -1, "bhqk,bhkd->bhqd", "bhqd"),
    ("bnhd", "bqhd,bkhd->bhqk", 3, "bhqk,bkhd->bqhd", "bqhd"),
    ("nbhd", "ibhd,jbhd->ijbh", 1, "ijbh,jbhd->ibhd", "ibhd"),  # Transformer-XL
    ("bnhd", "b q h d, b k h d -> b q k h", 2, "b q k h, b k h d -> b q h d", "bqhd"),
    ("bnhd", "bqhd,bkhd->bqhk", -1, "bqhk,bkhd->bqhd", "bqhd"),
    ("hbnd", "hbqd,hbkd->hbqk", -1, "hbqk,hbkd->bqhd", "bqhd"),  # batch is first in the output only
    ("hbnd", "hbqd,hbkd->bhqk", -1, "bhqk,hbkd->bqhd", "bqhd"),
]


@pytest.mark.parametrize(("order", "scores", "dim", "sums", "out"), EINSUMS)
@pytest.mark.parametrize("swapped", [False, True])
def test_einsum_in_any_order_of_letters(
    order: str, scores: str, dim: int, sums: str, out: str, swapped: bool
) -> None:
    query, key, value = (letters(order, tensor) for tensor in (Q, K, V))
    results: list[Tensor] = []

    def forward() -> None:
        weights = torch.einsum(scores, query * SCALE, key).softmax(dim)
        if swapped:
            left, right, to = sums.replace("->", ",").split(",")
            results.append(torch.einsum(f"{right},{left}->{to}", [value, weights]))
        else:
            results.append(torch.einsum(sums, weights, value))

    (call,) = tapped_calls(nn.Module(), forward)
    torch.testing.assert_close(call.weights, EXPECTED)
    assert call.output is not None
    assert call.output.shape == (BATCH, HEADS, QUERIES, 6)
    assert output_error(call) < 1e-5
    if order != "hbnd":  # whose samples are taken for its heads until its weights are used
        assert_logits(call, PEAKS)


def test_grouped_queries_by_einsum_and_by_folding() -> None:
    """Two key heads, each for two heads in turn."""
    key, value = K[:, :2], V[:, :2]
    grouped = Q.view(BATCH, 2, 2, QUERIES, WIDTH)
    expected = (Q @ key.repeat_interleave(2, 1).mT * SCALE).softmax(-1)

    def by_einsum() -> Tensor:
        scores = torch.einsum("bhgqd,bhkd->bhgqk", grouped, key) * SCALE
        return torch.einsum("bhgqk,bhkd->bhgqd", scores.softmax(-1), value)

    def by_folding() -> Tensor:
        scores = grouped.flatten(2, 3) @ key.mT * SCALE
        weights = scores.view(BATCH, 2, 2, QUERIES, KEYS).softmax(-1)
        return weights.view(BATCH, 2, -1, KEYS) @ value

    for way in (by_einsum, by_folding):
        model = Named(way)
        (call,) = tapped_calls(model, model)
        torch.testing.assert_close(call.weights, expected)
        assert call.value.shape[2:] == (KEYS, 6)
        assert output_error(call) < 1e-5
        assert_logits(call, (Q @ key.repeat_interleave(2, 1).mT * SCALE).amax((-1, -2)))


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout_is_not_in_the_weights(inplace: bool) -> None:
    """Also where a reshape or a turn comes after it."""
    afterwards: list[Callable[[Tensor], Tensor]] = [
        lambda w: w @ V,
        lambda w: w.flatten(0, 1) @ V.flatten(0, 1),
        lambda w: V.mT @ w.mT,
        lambda w: w.type_as(V).contiguous() @ V,
        lambda w: (w * 1.0) @ V,
    ]
    for after in afterwards:

        def forward(after: Callable[[Tensor], Tensor] = after) -> Tensor:
            weights = (Q @ K.mT * SCALE).softmax(-1)
            return after(F.dropout(weights, 0.5, training=True, inplace=inplace))

        (call,) = tapped_calls(nn.Module(), forward)
        torch.testing.assert_close(call.weights, EXPECTED)
        assert call.output is None


def test_logits_of_multi_head_attention_that_returns_its_weights() -> None:
    model = nn.MultiheadAttention(HEADS * WIDTH, HEADS, batch_first=True)
    x = torch.randn(BATCH, QUERIES, HEADS * WIDTH)
    (call,) = tapped_calls(model, lambda: model(x, x, x, need_weights=True))
    query, key, _ = F.linear(x, model.in_proj_weight, model.in_proj_bias).chunk(3, -1)
    query, key = (each.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2) for each in (query, key))
    assert_logits(call, (query @ key.mT * SCALE).amax((-1, -2)))


def test_logits_are_not_told_of_rows_that_are_others_than_the_softmax_had() -> None:
    query, key, value = (tensor.flatten(0, 1) for tensor in (Q, K, V))
    changes: list[tuple[Callable[[Tensor], Tensor], bool]] = [
        (lambda weights: weights.float() @ value, True),
        (lambda weights: weights[:, :3] @ value, False),
        (lambda weights: weights[:4] @ value[:4], False),
        (lambda weights: (weights * 0.5) @ value, False),
    ]
    for change, is_told in changes:

        def forward(change: Callable[[Tensor], Tensor] = change) -> Tensor:
            return change((query @ key.mT * SCALE).softmax(-1))

        (call,) = tapped_calls(nn.Module(), forward)
        assert (call.largest_logits is not None) == is_told


class Router(nn.Module):
    """A mixture of experts: a softmax over keys that are parameters, and a sum of values by it."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.gate = nn.Linear(WIDTH, 3)
        self.experts = nn.Parameter(torch.randn(3, WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "linear":
            logits = self.gate(x)
        elif self.way == "product":
            logits = x @ self.gate.weight.t()
        elif self.way == "cosine":
            logits = F.normalize(x, dim=-1) @ F.normalize(self.gate.weight, dim=-1).t() * 10.0
        else:
            logits = torch.einsum("bnd,ed->bne", x, self.gate.weight)
        outputs = torch.einsum("bnd,edf->bef", x, self.experts)
        return logits.softmax(-1) @ outputs


@pytest.mark.parametrize("way", ["linear", "product", "cosine", "einsum"])
def test_a_router_of_experts_is_no_attention(way: str) -> None:
    model = Router(way)
    x = torch.randn(BATCH, QUERIES, WIDTH)
    log = tapped(model, lambda: model(x))
    assert (log.calls, log.unsupported) == ([], [])


NEITHER: dict[str, Callable[[], object]] = {
    "a softmax that is not used": lambda: (Q @ K.mT).softmax(-1),
    "a softmax of no scores": lambda: Q.softmax(-1) @ K.mT,
    "a softmax over the queries": lambda: (Q @ K.mT).softmax(-2) @ V,
    "weights as features": lambda: (
        (Q @ K.mT).softmax(-1).flatten(-2) @ torch.ones(QUERIES * KEYS, 3)
    ),
    "a contrastive loss": lambda: F.cross_entropy(Q[0, 0] @ Q[1, 0].mT, torch.arange(QUERIES)),
    "a sum over the queries": lambda: torch.einsum("bhqk,bhqd->bhkd", (Q @ K.mT).softmax(-1), Q),
}


@pytest.mark.parametrize("way", NEITHER.values(), ids=NEITHER)
def test_what_is_no_attention_is_not_told(way: Callable[[], object]) -> None:
    assert tapped_calls(nn.Module(), way) == []


class Additive(nn.Module):
    """Bahdanau et al. 2015: the scores are a product with a parameter, as a router's are."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1, bias=False)

    def forward(self) -> Tensor:
        scores = self.score(torch.tanh(Q[..., None, :] + K[..., None, :, :])).squeeze(-1)
        return scores.softmax(-1) @ V


def of_sigmoids() -> Tensor:
    return (Q @ K.mT * SCALE).sigmoid() @ V


def linear() -> Tensor:
    """Katharopoulos et al. 2020: no map of queries by keys exists."""
    return (F.elu(Q) + 1) @ ((F.elu(K) + 1).mT @ V)


def in_torchscript() -> Tensor:
    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return torch.softmax(query @ key.transpose(-2, -1), -1) @ value

    mixed: Tensor = torch.jit.script(attend)(Q, K, V)
    return mixed


NOT_SEEN = {
    "additive": Additive(), "sigmoid": of_sigmoids, "linear": linear,
    "TorchScript": in_torchscript,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("way", NOT_SEEN.values(), ids=NOT_SEEN)
def test_attention_that_is_not_seen(way: Callable[[], object]) -> None:
    """As docs/models.md says; `record` is for these."""
    assert tapped_calls(nn.Module(), way) == []


def soft_cap(scores: Tensor) -> Tensor:
    return torch.tanh(scores / 5.0) * 5.0


LOST: dict[str, Callable[[Tensor], Tensor]] = {
    "a soft cap in TorchScript": lambda scores: torch.jit.script(soft_cap)(scores),
    "the size alone": torch.abs,
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("way", LOST)
def test_scores_that_are_lost_sight_of_are_taken_for_the_latest_and_a_note_says_so(
    way: str,
) -> None:
    change = LOST[way]
    (call,) = tapped_calls(nn.Module(), lambda: change(Q @ K.mT).softmax(-1) @ V)
    torch.testing.assert_close(call.weights, change(Q @ K.mT).softmax(-1))
    assert "before the softmax could not be followed" in call.note
    capped = tapped_calls(nn.Module(), lambda: soft_cap(Q @ K.mT).softmax(-1) @ V)
    assert [call.note for call in capped] == [""], "a cap that is seen is no news"


def test_a_softmax_of_something_else_is_not_taken_for_one_of_the_latest_scores() -> None:
    other = torch.randn(BATCH, HEADS, QUERIES, KEYS)
    for before in (
        lambda: (Q @ K.mT).softmax(-1) @ V,
        lambda: (Q @ K.mT) @ V,
        lambda: Q @ K.mT[..., 1:],
    ):
        seen = len(tapped_calls(nn.Module(), before))
        both = tapped_calls(nn.Module(), lambda run=before: (run(), other.softmax(-1) @ V))
        assert len(both) == seen


def efficient(x: Tensor) -> Tensor:
    """Shen et al. 2018, with as many positions as features."""
    context = x.softmax(-2).mT @ x
    return x.softmax(-1) @ context


def factorized(x: Tensor) -> Tensor:
    """Xu et al. 2021: the softmax of keys over positions, in one layer after the other."""
    for _ in range(2):
        x = (x @ (x.softmax(dim=-2).mT @ x)).cumsum(-1)  # not followed
    return x


def factorized_out_of_sight(x: Tensor) -> Tensor:
    for _ in range(2):
        context = (x.softmax(dim=-2).mT @ x).cumsum(-1)  # not followed
        x = F.linear(x @ context, torch.eye(WIDTH))
    return x


@pytest.mark.parametrize("way", [efficient, factorized, factorized_out_of_sight])
def test_a_softmax_over_features_is_not_taken_for_one_of_key_times_value(
    way: Callable[[Tensor], Tensor],
) -> None:
    x = torch.randn(BATCH, HEADS, WIDTH, WIDTH)
    log = tapped(nn.Module(), lambda: way(x))
    assert (log.calls, log.unsupported) == ([], [])


class Talking(nn.Module):
    """Heads mixed by a parameter after the softmax, as in CaiT: not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(HEADS, HEADS)

    def forward(self, x: Tensor) -> Tensor:
        weights = (Q @ K.mT).softmax(-1) + x
        return self.mix(weights.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) @ V


def test_weights_that_are_lost_sight_of_are_refused_once() -> None:
    """A layer that is told beside it is not."""
    model = nn.Sequential(Talking(), Named(operators))
    log = TapLog()
    with Tap(module_names(model), log):
        model[0](torch.zeros(()))
        model[1]()
        attention = nn.MultiheadAttention(8, 2)
        attention(Q[0], Q[0], Q[0])
    assert [call.name for call in log.calls] == ["1.inner", ""]
    assert [(name, why.split(" whose")[0]) for name, why in log.unsupported] == [
        ("0", "a softmax over query · key")
    ]


class Block(nn.Module):
    """nanoGPT's attention without the fused kernel, trained with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.n_head = HEADS
        self.qkv = nn.Linear(32, 96)
        self.attn_dropout = nn.Dropout(0.2)
        self.register_buffer("mask", torch.ones(9, 9).tril().bool())

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(x).split(width, dim=2)
        q, k, v = (
            t.view(batch, length, self.n_head, width // self.n_head).transpose(1, 2)
            for t in (q, k, v)
        )
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:length, :length] == 0, float("-inf"))
        att = F.softmax(att, dim=-1)
        att = self.attn_dropout(att)
        return (att @ v).transpose(1, 2).reshape(batch, length, width)


def test_training_under_the_tap_is_bitwise_the_same() -> None:
    def train(under_tap: bool) -> list[Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(Block(), nn.LayerNorm(32), Block())
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        x = torch.randn(BATCH, 9, 32)
        losses: list[Tensor] = []

        def forward() -> None:
            losses.append(model(x).square().mean())

        for _ in range(3):
            if under_tap:
                calls = tapped_calls(model, forward)
                assert [(call.name, call.heads) for call in calls] == [("0", HEADS), ("2", HEADS)]
            else:
                forward()
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        return [*losses, *model.parameters()]

    assert all(map(torch.equal, train(True), train(False)))


def test_nothing_of_the_forward_is_kept_alive() -> None:
    """Between its own calls the tap holds no tensor, unless dropout hides the weights in one."""
    model = Block().eval()
    x = torch.randn(BATCH, 9, 32)
    tap = Tap(module_names(model), CallListener(lambda call: None))
    with tap, torch.no_grad():
        model(x)
        assert tap._provenance._origins == {}
