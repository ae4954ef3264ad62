"""Models of Hugging Face's transformers, small and untrained, against their own eager attention."""

import pytest
import torch
from support.hf_models import CASES, returned_weights, text
from support.tapping import TapLog, tapped_calls
from torch import Tensor, nn

from attnmon.capture import AttentionCall, Tap, discover, module_names, probe
from attnmon.capture.calls.verification import attention_weights, output_error
from attnmon.layers.layer_numbering import ROLES, number_layers

TOLERANCE = 1e-6
EACH = [(name, how) for name, case in CASES.items() for how in case.implementations]
EAGER_ONLY = [name for name, case in CASES.items() if "sdpa" not in case.implementations]


def watch(model: nn.Module, inputs: dict[str, Tensor]) -> list[AttentionCall]:
    with torch.no_grad():
        return tapped_calls(model, lambda: model(**inputs))


@pytest.mark.parametrize(("name", "implementation"), EACH)
def test_the_maps_are_those_of_eager_attention(name: str, implementation: str) -> None:
    case = CASES[name]
    eager, model = case.build("eager").eval(), case.build(implementation).eval()
    model.load_state_dict(eager.state_dict())
    inputs = case.inputs()
    expected = returned_weights(eager, inputs)
    calls = watch(model, inputs)
    assert len(calls) == sum(case.roles.values())
    for call in calls:
        weights, wanted = attention_weights(call), expected[call.name][call.call_index]
        if name.endswith("left"):  # what padding itself attends to is anyone's choice
            weights, wanted = weights[:, :, 3:], wanted[:, :, 3:]
        torch.testing.assert_close(weights, wanted, rtol=0, atol=TOLERANCE)
        error = output_error(call)
        assert error is not None
        assert error < TOLERANCE


@pytest.mark.parametrize("name", EAGER_ONLY)
def test_where_only_eager_is_listed_transformers_refuses_the_other(name: str) -> None:
    with pytest.raises(ValueError, match="does not support an attention implementation through"):
        CASES[name].build("sdpa")


@pytest.mark.parametrize("name", [name for name in CASES if name not in EAGER_ONLY])
def test_where_sdpa_is_listed_transformers_takes_it(name: str) -> None:
    config = CASES[name].build("sdpa").config
    assert config._attn_implementation == "sdpa"  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "implementation"), EACH)
def test_roles_and_the_batch_dimension(name: str, implementation: str) -> None:
    case = CASES[name]
    found = discover(case.build(implementation), case.inputs(), None, sample=1)
    assert (found.batch_dim, found.sample, found.batch, found.refusals) == (0, 1, 2, ())
    roles = [position.role for position in number_layers(found.call_infos).positions.values()]
    assert {name: roles.count(ROLES[name]) for name in case.roles} == case.roles
    assert sum(case.roles.values()) == len(roles)


@pytest.mark.parametrize(("name", "implementation"), EACH)
def test_training_is_bitwise_the_same_under_tap_and_probe(name: str, implementation: str) -> None:
    """Two optimizer steps with the configuration's dropout; loss, parameters, random state."""
    case = CASES[name]

    def train(watched: bool) -> list[Tensor]:
        model, inputs = case.build(implementation).train(), case.inputs()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        log = TapLog()
        for _ in range(2):
            if watched:
                with Tap(module_names(model), log):
                    output = model(**inputs)
                probe(model, inputs, None, TapLog(), batch_dim=0)
            else:
                output = model(**inputs)
            loss = output[0].float().square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert len(log.calls) == (2 * sum(case.roles.values()) if watched else 0)
        return [loss, *model.parameters(), *model.buffers(), torch.get_rng_state()]

    assert all(map(torch.equal, train(False), train(True)))


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable. is deprecated")
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_layers_are_told_once(use_reentrant: bool) -> None:
    model = CASES["llama"].build("sdpa").train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})  # type: ignore[operator]
    inputs = text()
    calls = tapped_calls(model, lambda: torch.autograd.backward(model(**inputs).logits.sum()))
    assert [(call.name, call.call_index) for call in calls] == [
        ("model.layers.0.self_attn", 0),
        ("model.layers.1.self_attn", 0),
    ]


def test_bfloat16_is_told_more_exactly_than_eager_attention_has_it() -> None:
    """The kernel keeps its logits in float32; eager attention rounds them, and so its weights.

    Hence no tolerance against eager in bfloat16: the output that the kernel made is the oracle.
    """
    model = CASES["llama"].build("sdpa").to(torch.bfloat16).eval()
    for call in watch(model, text()):
        error = output_error(call)
        assert error is not None
        assert error < 2**-8  # a rounding of the output itself
