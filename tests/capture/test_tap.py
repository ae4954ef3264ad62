"""The tap: torch's own attention, told exactly as it is computed, and nothing changed by telling.

The oracle is the model itself: `need_weights=True, average_attn_weights=False`, in float64.
"""

import pytest
import torch
import torch.nn.functional as F
from support.tapping import TapLog, tapped_calls
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right, causal_upper_left
from torch.utils.checkpoint import checkpoint

from attnmon.capture import AttentionCall, CallListener, Tap, module_names
from attnmon.capture.calls.verification import attention_weights, output_error

HEADS, WIDTH = 4, 32


def exact(call: AttentionCall) -> Tensor:
    return attention_weights(call, dtype=torch.float64)


def boolean_causal(size: int) -> Tensor:
    """True is masked, as `nn.MultiheadAttention` has it."""
    return torch.ones(size, size, dtype=torch.bool).triu(1)


PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])
MHA_MASKS = {
    "none": {},
    "bool": {"attn_mask": boolean_causal(6)},
    "float": {"attn_mask": torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double()},
    "folded": {"attn_mask": torch.randn(2 * HEADS, 6, 6).double()},
    "padding": {"key_padding_mask": PADDING},
    "padding and bool": {"key_padding_mask": PADDING, "attn_mask": boolean_causal(6)},
    "causal": {"is_causal": True, "attn_mask": boolean_causal(6)},
}


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("masks", MHA_MASKS.values(), ids=MHA_MASKS)
def test_multihead_attention_is_told_as_it_returns_it(
    masks: dict[str, Tensor | bool], need_weights: bool
) -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    _, expected = attention(x, x, x, average_attn_weights=False, **masks)
    told = tapped_calls(attention, lambda: attention(x, x, x, need_weights=need_weights, **masks))
    assert [seen.heads for seen in told] == [HEADS]
    torch.testing.assert_close(exact(told[0]), expected, rtol=0, atol=1e-12)
    assert output_error(told[0]) < 1e-5


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 8}])
def test_every_option_of_multihead_attention(options: dict[str, int], need_weights: bool) -> None:
    """Additional keys, and keys of another width; sequence first."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, **options).double()  # type: ignore[arg-type]
    query = torch.randn(5, 3, WIDTH, dtype=torch.float64)
    key = torch.randn(7, 3, options.get("kdim", WIDTH), dtype=torch.float64)
    value = torch.randn(7, 3, WIDTH, dtype=torch.float64)
    _, expected = attention(query, key, value, average_attn_weights=False)
    told = tapped_calls(attention, lambda: attention(query, key, value, need_weights=need_weights))
    torch.testing.assert_close(exact(told[0]), expected, rtol=0, atol=1e-12)


def test_weights_are_those_before_dropout() -> None:
    """In training the weights that the module returns are dropped out; the told ones sum to 1."""
    attention = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.5, batch_first=True).double()
    x = torch.randn(2, 6, WIDTH, dtype=torch.float64)
    expected = attention.eval()(x, x, x, average_attn_weights=False)[1]
    attention.train()
    for need_weights in (False, True):
        told = tapped_calls(attention, lambda n=need_weights: attention(x, x, x, need_weights=n))
        torch.testing.assert_close(exact(told[0]), expected, rtol=0, atol=1e-12)
        assert told[0].output is None


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm_first", [False, True])
def test_all_attention_of_a_transformer_with_its_names(norm_first: bool) -> None:
    """In training and in evaluation, whose fast path would show nothing."""
    model = nn.Transformer(
        WIDTH, HEADS, 2, 2, 64, batch_first=True, norm_first=norm_first, dropout=0.0
    )
    source, target = torch.randn(2, 7, WIDTH), torch.randn(2, 5, WIDTH)
    for training in (True, False):
        model.train(training)
        with torch.no_grad():
            told = tapped_calls(model, lambda: model(source, target))
        assert [(seen.name, seen.queries, seen.keys) for seen in told] == [
            ("encoder.layers.0.self_attn", 7, 7),
            ("encoder.layers.1.self_attn", 7, 7),
            ("decoder.layers.0.self_attn", 5, 5),
            ("decoder.layers.0.multihead_attn", 5, 7),
            ("decoder.layers.1.self_attn", 5, 5),
            ("decoder.layers.1.multihead_attn", 5, 7),
        ]
        assert all(output_error(seen) < 1e-5 for seen in told)


def test_the_encoder_with_padding_in_evaluation_is_seen_unnested() -> None:
    """Its fast path would turn the padded batch into nested tensors."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 6, WIDTH)
    with torch.no_grad():
        told = tapped_calls(model, lambda: model(x, src_key_padding_mask=PADDING))
    assert len(told) == 2
    assert (exact(told[1])[1, :, :, 4:] == 0).all()


def test_the_result_is_bitwise_that_without_the_tap() -> None:
    model = nn.Transformer(WIDTH, HEADS, 2, 2, 64, batch_first=True, dropout=0.1)
    source, target = torch.randn(2, 7, WIDTH), torch.randn(2, 5, WIDTH)
    torch.manual_seed(0)
    expected = model(source, target)
    results = []
    torch.manual_seed(0)
    tapped_calls(model, lambda: results.append(model(source, target)))
    assert torch.equal(results[0], expected)
    gradients = [
        torch.autograd.grad(r.sum(), list(model.parameters())) for r in (expected, *results)
    ]
    assert all(map(torch.equal, *gradients))


def kernel_arguments() -> dict[str, dict[str, object]]:
    float_mask = torch.randn(2, 1, 5, 7)
    bool_mask = torch.rand(5, 7) > 0.3
    bool_mask[:, 0] = True
    return {
        "plain": {},
        "scale": {"scale": 0.3},
        "causal": {"is_causal": True},
        "float mask": {"attn_mask": float_mask},
        "bool mask": {"attn_mask": bool_mask},
        "mask of all heads": {"attn_mask": torch.randn(2, HEADS, 5, 7)},
        "upper left": {"attn_mask": causal_upper_left(5, 7)},
        "lower right": {"attn_mask": causal_lower_right(5, 7)},
    }


@pytest.mark.parametrize("options", kernel_arguments().values(), ids=kernel_arguments())
def test_the_kernel_called_by_itself(options: dict[str, object]) -> None:
    """Its identity as the value makes the kernel itself show its weights."""
    query, key = torch.randn(2, HEADS, 5, 8), torch.randn(2, HEADS, 7, 8)
    identity = torch.eye(7).expand(2, HEADS, 7, 7)
    call = F.scaled_dot_product_attention
    results: list[Tensor] = []
    told = tapped_calls(nn.Module(), lambda: results.append(call(query, key, identity, **options)))
    torch.testing.assert_close(exact(told[0]).float(), results[0], rtol=0, atol=1e-6)
    assert torch.equal(told[0].query, query)
    assert told[0].query.data_ptr() == query.data_ptr()


def test_grouped_queries() -> None:
    query, key = torch.randn(2, 6, 5, 8), torch.randn(2, 2, 7, 8)
    identity = torch.eye(7).expand(2, 2, 7, 7)
    results: list[Tensor] = []
    told = tapped_calls(
        nn.Module(),
        lambda: results.append(
            F.scaled_dot_product_attention(query, key, identity, enable_gqa=True)
        ),
    )
    assert told[0].heads == 6
    torch.testing.assert_close(exact(told[0]).float(), results[0], rtol=0, atol=1e-6)
    assert output_error(told[0].of_sample(1)) < 1e-5


def test_a_row_without_any_key_is_zero_as_the_kernel_has_it() -> None:
    query = torch.randn(1, 1, 3, 8)
    mask = torch.tensor([[True, True, True], [False, False, False], [True, False, False]])
    results: list[Tensor] = []
    told = tapped_calls(
        nn.Module(),
        lambda: results.append(
            F.scaled_dot_product_attention(query, query, torch.eye(3)[None, None], attn_mask=mask)
        ),
    )
    assert (results[0][0, 0, 1] == 0).all()
    assert (exact(told[0])[0, 0, 1] == 0).all()


@pytest.mark.parametrize(
    ("lead", "of_mask"),
    [
        ((), ()),
        ((6,), (6,)),
        ((6,), (1,)),
        ((6,), ()),
        ((2, 3, HEADS), (2, 3, HEADS)),
        ((2, 3, HEADS), (3, HEADS)),
        ((2, 3, HEADS), (2, 1, 1)),
    ],
)
def test_other_numbers_of_dimensions(lead: tuple[int, ...], of_mask: tuple[int, ...]) -> None:
    """[positions, width], [batch, …] of one head, and two batch dimensions."""
    query, key = torch.randn(*lead, 5, 8), torch.randn(*lead, 7, 8)
    mask = torch.randn(*of_mask, 5, 7)
    told = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, key, key, mask))
    expected = (query @ key.mT / 8**0.5 + mask).softmax(-1)
    torch.testing.assert_close(exact(told[0]).float().reshape(expected.shape), expected)


def test_under_autocast_the_rounded_query_is_told() -> None:
    """The tap sees float32; the kernel computes with bfloat16."""
    query, key = torch.randn(2, HEADS, 5, 8) * 5, torch.randn(2, HEADS, 7, 8)
    results: list[Tensor] = []

    def forward() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            results.append(F.scaled_dot_product_attention(query, key, key))

    sample = tapped_calls(nn.Module(), forward)[0].of_sample(1)
    assert results[0].dtype == torch.bfloat16
    assert torch.equal(sample.query, query[1].bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        kept = tapped_calls(
            nn.Module(), lambda: F.scaled_dot_product_attention(*[query.double()] * 3)
        )
    assert kept[0].of_sample(0).query.dtype == torch.float64  # which autocast leaves alone
    rounded = [tensor[1].bfloat16().double() for tensor in (query, key)]
    expected = (rounded[0] @ rounded[1].mT / 8**0.5).softmax(-1)
    torch.testing.assert_close(exact(sample), expected, rtol=0, atol=1e-12)


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        def attend(x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

        return checkpoint(attend, x, use_reentrant=self.use_reentrant)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_what_checkpointing_computes_again_is_told_once(use_reentrant: bool) -> None:
    model = Checkpointed(use_reentrant)
    x = torch.randn(2, 6, WIDTH, requires_grad=True)

    def forward_and_backward() -> None:
        loss = model(x).sum()
        # Tensor.backward would pop the mode; who calls the engine directly, as this does, keeps it.
        run = torch.autograd.Variable._execution_engine.run_backward
        run((loss,), (torch.ones_like(loss),), False, False, (), True, True)

    assert [seen.name for seen in tapped_calls(model, forward_and_backward)] == ["attention"]


def test_tied_layers_are_told_apart_by_their_call() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)
    model = nn.ModuleDict({"tied": layer})
    x = torch.randn(2, 6, WIDTH)
    told = tapped_calls(model, lambda: layer(layer(x)))
    assert [(seen.name, seen.call_index) for seen in told] == [
        ("tied.self_attn", 0),
        ("tied.self_attn", 1),
    ]


def test_the_models_exception_passes_and_leaves_no_mode() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)
    with pytest.raises(RuntimeError, match=r"2D attn_mask"):
        tapped_calls(attention, lambda: attention(x, x, x, attn_mask=torch.zeros(3, 3)))
    assert torch._C._len_torch_function_stack() == 0


def test_the_receiver_is_called_without_gradients_and_without_the_mode() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)
    seen: list[tuple[bool, bool, int]] = []

    def receive(told: AttentionCall) -> None:
        tensors = (told.weights, told.query, told.key, told.value, told.output)
        attached = any(tensor is not None and tensor.requires_grad for tensor in tensors)
        seen.append((torch.is_grad_enabled(), attached, torch._C._len_torch_function_stack()))

    listener = CallListener(receive)
    with Tap(module_names(attention), listener):
        attention(x, x, x, need_weights=False)
        attention(x, x, x, need_weights=True)
    assert seen == [(False, False, 0)] * 2


def test_an_error_of_the_receiver_stays_out_of_the_forward() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)

    def fail(call: AttentionCall) -> None:
        raise OSError("no room")

    listener = CallListener(fail)
    with Tap(module_names(attention), listener):
        result, _ = attention(x, x, x, need_weights=False)
    assert result.shape == x.shape
    with pytest.raises(OSError, match="no room"):
        listener.raise_error()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_what_cannot_be_told_is_refused_with_a_reason() -> None:
    log = TapLog()
    query = torch.randn(1, HEADS, 5, 8)
    nested = torch.nested.nested_tensor(
        [torch.randn(3, HEADS, 8), torch.randn(5, HEADS, 8)], layout=torch.jagged
    ).transpose(1, 2)
    batched = torch.randn(3, 2, HEADS, 5, 8)
    with Tap({}, log):
        F.scaled_dot_product_attention(nested, nested, nested)
        torch.vmap(lambda q: F.scaled_dot_product_attention(q, q, q))(batched)
        F.scaled_dot_product_attention(query, query.expand(3, -1, -1, -1), query)
    assert log.calls == []
    assert [why.split(":")[0] for why in log.reasons] == [
        "nested tensors",
        "inside torch.func (vmap, grad)",
        "query (1, 4, 5, 8) beside (3, 4, 5, 8)",
    ]


def test_an_empty_sequence_is_told_as_it_is() -> None:
    query = torch.randn(2, HEADS, 0, 8)
    told = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, query, query))
    assert exact(told[0].of_sample(0)).shape == (HEADS, 0, 0)
    assert output_error(told[0]) is None


def test_a_sample_that_is_not_there() -> None:
    query = torch.randn(2, HEADS, 5, 8)
    told = tapped_calls(nn.Module(), lambda: F.scaled_dot_product_attention(query, query, query))
    with pytest.raises(IndexError, match="sample 2 of a batch of 2"):
        told[0].of_sample(2)


def test_a_function_of_the_users_own_around_multi_head_attention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs as often as without the tap, and what it calls is told."""
    original, calls = F.multi_head_attention_forward, []

    def wrapper(*args: object, **kwargs: object) -> object:
        calls.append(1)
        return original(*args, **kwargs)

    monkeypatch.setattr(F, "multi_head_attention_forward", wrapper)
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH)
    told = tapped_calls(attention, lambda: attention(x, x, x))
    assert (len(told), len(calls)) == (1, 1)


class Own(Tensor):
    """A class of tensors of the user's own."""


def test_multi_head_attention_on_a_class_of_tensors_is_refused() -> None:
    attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    x = torch.randn(2, 6, WIDTH).as_subclass(Own)
    log = TapLog()
    with Tap(module_names(attention), log):
        result = attention(x, x, x)[0]
    assert result.shape == x.shape
    assert log.calls == []
    assert [why.split(" of ")[0] for why in log.reasons] == ["multi_head_attention_forward"]
