"""The extra forward: real models, and a serializer that only keeps a log."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.collecting import FakeSession
from support.models import LanguageModel, batch
from torch import Tensor, nn

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.collector import probe_collector
from attnmon.collector.probe_collector import ProbeCollector
from attnmon.config.option_table import Settings
from attnmon.config.settings import checked_settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection
from attnmon.serialize.capture_builder import CaptureBuilder, RingFull


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return checked_settings(options={}, save_dir=tmp_path)


class Parts:
    def __init__(self, settings: Settings) -> None:
        self.session = FakeSession()
        selection = LayerSelection(settings.layers_to_visualize, None)
        self.registry = LayerRegistry(selection, ErrorGuard(), dict)
        self.probe = ProbeCollector(
            settings,
            self.session,  # type: ignore[arg-type]
            self.registry,
        )

    def collect(self, model: nn.Module, enc: Tensor) -> CaptureBuilder:
        builder = self.session.new_builder(sample=0, seen_in="probe", retained=False)
        self.probe.collect(model, enc, None, builder)
        return builder


def test_the_first_probe_finds_the_layers_and_the_next_uses_them(settings: Settings) -> None:
    parts = Parts(replace(settings, layers_to_visualize=(-1,)))
    model, forwards = LanguageModel(layers=3), []
    model.register_forward_hook(lambda *_: forwards.append(1))
    parts.collect(model, batch())
    assert [name for name, _, _ in parts.session.written] == ["blocks.2"]
    assert len(parts.registry.call_infos) == 3
    first = len(forwards)
    parts.collect(model, batch())
    assert len(forwards) == first + 1, "the layers are known"
    assert parts.session.written[1] == ("blocks.2", 0, 1), "one sample is all that is computed"


def test_another_model_is_discovered_anew(settings: Settings) -> None:
    parts = Parts(replace(settings, layers_to_visualize=None))
    parts.collect(LanguageModel(layers=1), batch())
    parts.collect(LanguageModel(layers=3), batch())
    assert len(parts.session.written) == 1 + 3


def test_a_batch_that_is_too_small_shows_its_last_sample(settings: Settings) -> None:
    parts = Parts(replace(settings, batch_idx_to_visualize=99))
    builder = parts.collect(LanguageModel(), batch(3))
    assert builder.sample == 2


def test_calls_that_are_new_have_the_layers_found_anew(settings: Settings) -> None:
    class Growing(LanguageModel):
        def forward(self, tokens: Tensor) -> Tensor:
            hidden = self.embedding(tokens)
            for block in self.blocks[: self.depth]:
                hidden = hidden + block(hidden)
            return self.head(hidden)  # type: ignore[no-any-return]

        depth = 1

    parts, model = Parts(replace(settings, layers_to_visualize=None)), Growing(layers=2)
    parts.collect(model, batch())
    model.depth = 2
    parts.collect(model, batch())
    assert parts.registry.call_infos == {}
    parts.session.written.clear()
    parts.collect(model, batch())
    assert [name for name, _, _ in parts.session.written] == ["blocks.0", "blocks.1"]


def test_an_error_of_ours_does_not_reach_the_models_forward(settings: Settings) -> None:
    parts, model, completed = Parts(settings), LanguageModel(), []
    parts.session.error = RingFull("behind")
    model.head.register_forward_hook(lambda *_: completed.append(1))
    with pytest.raises(RingFull, match="behind"):
        parts.collect(model, batch())
    assert len(completed) == 2, "the discovery and the probe both came to their end"


def test_an_error_of_the_model_is_raised(settings: Settings) -> None:
    with pytest.raises(RuntimeError):
        Parts(settings).collect(LanguageModel(), torch.randn(2, 3))


def test_where_no_extra_forward_may_be_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel()
    assert Parts(settings).probe.is_allowed(model)
    assert not Parts(replace(settings, capture="forward")).probe.is_allowed(model)
    monkeypatch.setattr(probe_collector, "is_sharded", lambda module: True)
    assert not Parts(settings).probe.is_allowed(model)
