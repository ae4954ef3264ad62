"""Modules that look like attention and told nothing are named; others are not."""

import pytest
import torch
from support.models import LanguageModel, Translator, batch
from support.tapping import probed_calls
from torch import Tensor, nn

from attnmon.capture.model.silent_modules import NOTHING_TOLD, is_told, silent_modules


class Gate(nn.Module):
    """Attends by query and key, and is called nothing of the kind."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


class LinearAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix, self.attn_drop, self.norm = nn.Linear(4, 4), nn.Dropout(), RMSNorm()


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.mixer = Gate(), LinearAttention()
        self.attention = nn.ModuleList([nn.Linear(4, 4)])
        self.attn_norm = RMSNorm()
        self.self_attn = nn.Sequential(Gate())
        self.torch_s = nn.MultiheadAttention(4, 2)


INPUTS = {LanguageModel: (batch(), None), Translator: (batch(), batch(length=9))}


def names(model: nn.Module, told: tuple[str, ...] = ()) -> list[str]:
    found = [name for name, why in silent_modules(model) if why == NOTHING_TOLD]
    return [name for name in found if not is_told(name, told)]


def test_they_are_known_by_class_name_projections_and_the_innermost_counts() -> None:
    assert names(Model()) == ["gate", "mixer", "self_attn.0", "torch_s"]


@pytest.mark.parametrize(
    "projections",
    [
        "q_proj k_proj v_proj", "to_q to_kv", "Wqkv", "in_proj_qkv", "query_key_value", "wq wk wv",
        "c_attn", "linear_q linear_k linear_v", "w_q w_k w_v", "queries keys values",
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_module", [True, False])
def test_projections_are_known_by_many_names(projections: str, as_module: bool) -> None:
    class Mixer(nn.Module):
        """Attends, and is called nothing of the kind."""

    mixer = Mixer()
    for name in projections.split():
        linear = nn.Linear(4, 4)
        setattr(mixer, name, linear if as_module else linear.weight)
    assert names(nn.ModuleDict({"mixer": mixer, "ff": nn.Linear(4, 4)})) == ["mixer"]


def test_those_of_which_something_is_known_are_not_named() -> None:
    told = ("gate", "self_attn.0.core", "torch_s")
    assert names(Model(), told) == ["mixer"]
    assert names(Model(), ("",)) == ["self_attn.0"], "a model attends with what it holds itself"
    assert not is_told("a.bc", ("a.b", "a.b.c"))


@pytest.mark.parametrize("kind", [LanguageModel, Translator])
def test_without_what_they_told_each_attention_of_a_model_is_named(kind: type[nn.Module]) -> None:
    model = kind()
    attending = [call.name for call in probed_calls(model, *INPUTS[kind])]
    assert set(names(model)) == set(attending)
    assert names(model, tuple(attending)) == []


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_programs_are_named_as_a_whole_with_what_they_are() -> None:
    x = torch.randn(2, 4)
    programs = {
        "TorchScript": torch.jit.script(Gate()),
        "TorchScript program": torch.jit.trace(Gate(), x),
        "torch.export": torch.export.export(nn.Sequential(Gate(), nn.Linear(4, 4)), (x,)).module(),
    }
    for kind, program in programs.items():
        ((name, why),) = silent_modules(program)
        assert (name, kind in why) == ("", True)
        ((name, why),) = silent_modules(nn.ModuleDict({"part": program}))
        assert (name, kind in why) == ("part", True)
    assert silent_modules(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4)))) == []
