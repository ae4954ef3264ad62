"""The tap: attention of whole modules, and nothing of the forward changed by capturing it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import LanguageModel, batch
from support.tapping import TapLog, exact_weights, tapped_calls
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from attnmon.capture import AttentionCall, CallListener, Tap, module_names
from attnmon.capture.calls.verification import output_error
from attnmon.capture.layouts import FollowedLayouts

HEADS, WIDTH = 4, 32
PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2])


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
            calls = tapped_calls(model, lambda: model(source, target))
        assert [(call.name, call.queries, call.keys) for call in calls] == [
            ("encoder.layers.0.self_attn", 7, 7),
            ("encoder.layers.1.self_attn", 7, 7),
            ("decoder.layers.0.self_attn", 5, 5),
            ("decoder.layers.0.multihead_attn", 5, 7),
            ("decoder.layers.1.self_attn", 5, 5),
            ("decoder.layers.1.multihead_attn", 5, 7),
        ]
        assert all(output_error(call) < 1e-5 for call in calls)


def test_the_encoder_with_padding_in_evaluation_is_seen_unnested() -> None:
    """Its fast path would turn the padded batch into nested tensors."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 6, WIDTH)
    with torch.no_grad():
        calls = tapped_calls(model, lambda: model(x, src_key_padding_mask=PADDING))
    assert len(calls) == 2
    assert (exact_weights(calls[1])[1, :, :, 4:] == 0).all()


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

    assert [call.name for call in tapped_calls(model, forward_and_backward)] == ["attention"]


def test_tied_layers_are_told_apart_by_their_call() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True)
    model = nn.ModuleDict({"tied": layer})
    x = torch.randn(2, 6, WIDTH)
    calls = tapped_calls(model, lambda: layer(layer(x)))
    assert [(call.name, call.call_index) for call in calls] == [
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
    conditions: list[tuple[bool, bool, int]] = []

    def receive(call: AttentionCall) -> None:
        tensors = (call.weights, call.query, call.key, call.value, call.output)
        attached = any(tensor is not None and tensor.requires_grad for tensor in tensors)
        conditions.append((torch.is_grad_enabled(), attached, torch._C._len_torch_function_stack()))

    listener = CallListener(receive)
    with Tap(module_names(attention), listener):
        attention(x, x, x, need_weights=False)
        attention(x, x, x, need_weights=True)
    assert conditions == [(False, False, 0)] * 2


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


def attended(x: Tensor) -> Tensor:
    return (x @ x.mT).softmax(-1) @ x


TRANSFORMS: dict[str, Callable[[Tensor], object]] = {
    "each sample by itself": torch.vmap(attended),
    "a derivative in one direction": lambda x: torch.func.jvp(attended, (x,), (x,)),
    "gradients": torch.func.grad(lambda x: attended(x).sum()),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_inside_a_transform_no_tensor_is_looked_into(
    transform: Callable[[Tensor], object],
) -> None:
    x, log = torch.randn(3, 5, 8), TapLog()
    with Tap({}, log, layouts=FollowedLayouts((x,), 0)):
        transform(x)
    assert log.calls == []
    assert [why.split(":")[0] for why in log.reasons] == ["inside torch.func (vmap, grad)"]


class Counting(TorchFunctionMode):
    """Counts the calls of torch functions."""

    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_users_sees_no_call_by_which_the_forward_is_followed() -> None:
    model, tokens, log = LanguageModel(), batch(), TapLog()
    with Counting() as alone:
        model(tokens)
    followed = FollowedLayouts((tokens,), 0)
    with Counting() as watched, Tap(module_names(model), log, layouts=followed):
        model(tokens)
    assert [call.layout is not None for call in log.calls] == [True, True]
    assert watched.calls == alone.calls > 10


def test_a_forward_is_followed_on_the_processor_whatever_the_default_device_is() -> None:
    model, tokens, log = LanguageModel(), batch(), TapLog()
    with torch.device("meta"), Tap(module_names(model), log, layouts=FollowedLayouts((tokens,), 0)):
        model(tokens)
    assert [call.layout is not None for call in log.calls] == [True, True]
