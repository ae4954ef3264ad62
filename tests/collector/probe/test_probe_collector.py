"""The extra forward: real models, and a serializer that only keeps a log."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from support.collecting import FakeSession
from support.models import LanguageModel, batch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.probe import probe_permission
from attnmon.collector.probe.probe_collector import ProbeCollector
from attnmon.collector.probe.probe_permission import ProbePermission
from attnmon.config.option_table import Settings
from attnmon.config.settings import checked_settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection
from attnmon.serialize.capture_builder import CaptureBuilder, NotSeen, RingFull


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
            InputTokens(None, self.session.guard),
        )

    def collect(self, model: nn.Module, enc: Tensor) -> CaptureBuilder:
        builder = self.session.new_builder(sample=0, seen_in="probe", retained=False)
        self.probe.collect(model, enc, None, builder)
        return builder


def test_the_first_probe_finds_the_layers_and_the_next_uses_them(settings: Settings) -> None:
    parts = Parts(replace(settings, layers_to_visualize=(-1,)))
    model, forwards = LanguageModel(layers=3), Mock(return_value=None)
    model.register_forward_hook(forwards)  # a list would be put back
    parts.collect(model, batch())
    assert [name for name, _, _ in parts.session.written] == ["blocks.2"]
    assert len(parts.registry.call_infos) == 3
    first = forwards.call_count
    parts.collect(model, batch())
    assert forwards.call_count == first + 1, "the layers are known"
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
    parts, model, completed = Parts(settings), LanguageModel(), Mock(return_value=None)
    parts.session.error = RingFull("behind")
    model.head.register_forward_hook(completed)
    with pytest.raises(RingFull, match="behind"):
        parts.collect(model, batch())
    assert completed.call_count == 3, "two discoveries and the probe came to an end"


def test_none_is_made_while_another_thread_could_change_what_is_put_back(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor is it forbidden for good: compiled models are seen in no other way."""
    parts, model, ends = Parts(settings), LanguageModel(), threading.Event()
    thread = threading.Thread(target=lambda: ends.wait(60) and model.eval(), name="evaluating")
    thread.start()
    for _ in range(2):
        with pytest.raises(NotSeen):
            parts.collect(model, batch())
    assert "'evaluating' runs, which may change a LanguageModel" in parts.probe.refusal(model)
    assert caplog.text.count("may not be made while the thread 'evaluating'") == 1
    ends.set(), thread.join()
    assert parts.probe.refusal(model) == ""
    parts.collect(model, batch())
    assert parts.session.written


def test_an_error_of_the_model_is_raised(settings: Settings) -> None:
    with pytest.raises(RuntimeError):
        Parts(settings).collect(LanguageModel(), torch.randn(2, 3))


def test_where_no_extra_forward_may_be_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LanguageModel()
    assert not ProbePermission(settings).refusal(model)
    assert "use capture='auto'" in ProbePermission(replace(settings, capture="forward")).refusal(
        model
    )
    several = replace(settings, world_size=2)
    assert "use capture='probe'" in ProbePermission(several).refusal(model)
    assert not ProbePermission(replace(several, capture="probe")).refusal(model)
    with monkeypatch.context() as launched:
        launched.setenv("RANK", "1")
        launched.setenv("WORLD_SIZE", "4")
        assert "several processes" in ProbePermission(settings).refusal(model)
    with FlopCounterMode(display=False):
        assert "FlopCounterMode is on" in ProbePermission(settings).refusal(model)
    with torch.device("cpu"):  # it changes nothing that is computed
        assert not ProbePermission(settings).refusal(model)
    monkeypatch.setattr(probe_permission, "is_sharded", lambda module: True)
    assert "sharded" in ProbePermission(settings).refusal(model)


def test_a_model_whose_extra_forward_was_stopped_never_gets_another(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    class Remembering(LanguageModel):
        def forward(self, tokens: Tensor) -> Tensor:
            with torch.no_grad():
                self.embedding.weight.mul_(0.9)
            return super().forward(tokens)

    parts, model = Parts(settings), Remembering()
    before = model.embedding.weight.detach().clone()
    with pytest.raises(NotSeen):
        parts.collect(model, batch())
    assert torch.equal(model.embedding.weight, before)
    [record] = caplog.records
    assert "aten.mul_" in record.getMessage()
    assert "embedding.weight" in record.getMessage()
    assert "Remembering" in parts.session.guard.remarks.warnings[0]
    assert "embedding.weight" in parts.probe.refusal(model)
    assert not parts.probe.refusal(LanguageModel())


class Graphs(nn.Module):
    """Attends within each graph of a batch, given as an object of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, batch: Any) -> Tensor:
        dense = torch.nn.utils.rnn.pad_sequence(batch.nodes.split(batch.sizes), batch_first=True)
        x = self.project(dense)[:, None]
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_of_inputs_that_cannot_be_cut_the_sample_is_taken_from_what_is_seen(
    settings: Settings,
) -> None:
    graphs = SimpleNamespace(nodes=torch.randn(9, 4), edges=torch.zeros(2, 20), sizes=[4, 3, 2])
    model = Graphs()
    for asked, shown in ((1, 1), (7, 2)):
        parts = Parts(replace(settings, batch_idx_to_visualize=asked))
        builder = parts.collect(model, graphs)  # type: ignore[arg-type]
        assert builder.sample == shown, "of a batch of three graphs the last one"
        [(_, index, samples)] = parts.session.written
        [call] = parts.session.calls
        query = call.of_model_sample(index, samples or 0).query
        assert query is not None
        nodes = graphs.nodes.split(graphs.sizes)[shown]
        expected = model.project(nodes)
        torch.testing.assert_close(query[0, : len(nodes)], expected, rtol=0, atol=1e-6)


def test_a_batch_with_texts_beside_the_tensors_is_followed_all_the_same(settings: Settings) -> None:
    """A list as long as the batch may be one of samples: it is not cut. Nor is the order lost."""

    class Folding(nn.Module):
        """Has its two heads in front of the samples."""

        def __init__(self) -> None:
            super().__init__()
            self.project, self.num_heads = nn.Linear(8, 8), 2

        def forward(self, x: Tensor, texts: list[str]) -> Tensor:
            heads = self.project(x).view(3, 5, 2, 4).permute(2, 0, 1, 3).reshape(6, 5, 4)
            return (heads @ heads.mT).softmax(-1) @ heads

    parts = Parts(replace(settings, batch_idx_to_visualize=1))
    model, x = Folding(), torch.randn(3, 5, 8)
    builder = parts.collect(model, {"x": x, "texts": ["a", "b", "c"]})  # type: ignore[arg-type]
    [(_, index, samples)], [call] = parts.session.written, parts.session.calls
    weights = call.of_model_sample(index, samples or 0).weights
    heads = model.project(x[1]).view(5, 2, 4).transpose(0, 1)
    assert builder.sample == 1
    assert weights is not None
    torch.testing.assert_close(weights, (heads @ heads.mT).softmax(-1), rtol=0, atol=1e-6)
