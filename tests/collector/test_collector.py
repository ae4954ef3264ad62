"""Which of the three ways is taken at a step: the other collectors are fakes that keep a log."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.collecting import FakeSession, any_call
from support.models import LanguageModel, batch
from support.tapping import is_watched
from torch import nn

from attnmon.capture import CallInfo
from attnmon.collector.collector import Collector
from attnmon.collector.own_forward.held_forward import HeldForward
from attnmon.config.option_table import Settings
from attnmon.config.settings import checked_settings
from attnmon.serialize.capture_builder import CaptureBuilder, NotSeen, RingFull, TooLarge


class Probe:
    """Shows one layer, if it is allowed to."""

    def __init__(self) -> None:
        self.allowed = True
        self.probed: list[nn.Module] = []
        self.error: Exception | None = None

    def refusal(self, model: nn.Module) -> str:
        return "" if self.allowed else "it may not"

    def collect(self, model: nn.Module, enc: Any, dec: Any, builder: CaptureBuilder) -> None:
        builder.reserve(1)
        if self.error is not None:
            raise self.error
        self.probed.append(model)
        builder.attentions.append(any)  # type: ignore[arg-type]


class Parts:
    def __init__(self, settings: Settings) -> None:
        self.session, self.probe = FakeSession(), Probe()
        self.collector = Collector(settings, self.session)  # type: ignore[arg-type]
        self.collector._probe = self.probe  # type: ignore[assignment]
        self.collector.watch._refusal = self.probe.refusal
        self.model, self.tokens = LanguageModel(), batch()

    def hold(self, *inputs: torch.Tensor, sample: int = 0) -> CaptureBuilder:
        """As if the model's own forward had just been seen."""
        builder = self.session.new_builder(sample=sample, seen_in="forward", retained=False)
        builder.reserve(1)
        builder.attentions.append(any)  # type: ignore[arg-type]
        self.collector._forward._held = HeldForward(builder, inputs, 0)
        return builder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return checked_settings(options={}, save_dir=tmp_path)


@pytest.fixture
def parts(settings: Settings) -> Iterator[Parts]:
    made = Parts(settings)
    yield made
    made.collector.watch.reset()


def test_the_forward_of_the_logged_tensors_is_taken(parts: Parts) -> None:
    held = parts.hold(parts.tokens)
    assert parts.collector.collect(parts.model, parts.tokens, None) is held
    assert parts.probe.probed == []
    assert parts.collector.collect(parts.model, parts.tokens, None) is not held, "it is taken once"


def test_the_forward_of_other_tensors_gives_way_to_a_probe(parts: Parts) -> None:
    parts.hold(batch(seed=9))
    builder = parts.collector.collect(parts.model, parts.tokens, None)
    assert (builder.seen_in, parts.probe.probed) == ("probe", [parts.model])
    assert parts.session.slots_in_use == 1, "what was held is freed"


def test_where_no_probe_is_allowed_the_forward_of_other_tensors_is_better_than_none(
    parts: Parts,
) -> None:
    parts.probe.allowed = False
    held = parts.hold(batch(seed=9))
    assert parts.collector.collect(parts.model, parts.tokens, None) is held


def test_where_there_is_no_way_it_is_not_seen(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.probe.allowed = False
    for _ in range(2):
        with pytest.raises(NotSeen):
            parts.collector.collect(parts.model, parts.tokens, None)
    assert not caplog.records, "the next forward will show it"
    parts.collector.registry.set_model(parts.model)
    parts.collector.registry.compiled = True
    for _ in range(4):
        assert parts.collector.collect(parts.model, parts.tokens, None).attentions == []
    assert not parts.session.guard.off, "what the user gives is published still"
    [record] = caplog.records
    assert "0 layers are captured" in record.getMessage()


def test_a_retained_step_is_never_probed(parts: Parts) -> None:
    builder = parts.collector.collect(parts.model, parts.tokens, None, retained=True)
    assert (builder.attentions, builder.seen_in, builder.retained) == ([], "recorded", True)
    assert parts.probe.probed == []
    assert parts.session.guard.failures_in_a_row == 0, "nor is it a failure to have seen nothing"


def test_what_the_user_gives_is_added_whatever_way_is_taken(parts: Parts) -> None:
    for model in (parts.model, None):
        parts.collector.manual.add(any_call("decoder.extra"), None)
        builder = parts.collector.collect(model, parts.tokens if model else None, None)
        assert parts.session.written.pop() == ("decoder.extra", 0, None)
        assert builder.seen_in == ("probe" if model else "recorded")
        parts.collector.manual.clear()


def test_what_the_user_gives_and_has_not_chosen_is_not_written(settings: Settings) -> None:
    parts = Parts(replace(settings, layers_to_visualize=("decoder.*",)))
    parts.collector.manual.add(any_call("decoder.0"), "decoder_self")
    parts.collector.manual.add(any_call("other"), "encoder_self")
    parts.collector.collect(None, None, None)
    assert [name for name, _, _ in parts.session.written] == ["decoder.0"]
    assert [row.captured for row in parts.collector.registry.coverage()] == [True, False]


def test_an_error_frees_the_slots(parts: Parts) -> None:
    parts.probe.error = RingFull("behind")
    with pytest.raises(RingFull):
        parts.collector.collect(parts.model, parts.tokens, None)
    parts.hold(parts.tokens)
    parts.collector.manual.add(any_call("decoder.extra"), None)
    parts.session.error = TooLarge("odd")
    with pytest.raises(TooLarge, match="odd"):
        parts.collector.collect(parts.model, parts.tokens, None)
    assert parts.session.slots_in_use == 0


def test_nothing_found_is_a_failure_that_says_what_to_do(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.collector.collect(None, None, None)
    assert parts.session.guard.failures_in_a_row == 1
    assert "no model was given: 0 layers can be captured" in caplog.text


def test_the_last_sample_of_a_small_batch_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts(replace(settings, batch_idx_to_visualize=5))
    parts.hold(parts.tokens, sample=2)
    parts.collector.collect(parts.model, parts.tokens, None)
    assert "batch_idx_to_visualize=5, but a batch had only 3 samples" in caplog.text


# Arming


def test_it_is_armed_for_one_model_at_a_time(parts: Parts) -> None:
    other = LanguageModel()
    parts.collector.watch.arm(parts.model)
    parts.collector.watch.arm(parts.model, retained=True)
    assert is_watched(parts.model)
    parts.collector.watch.arm(other)
    assert (is_watched(parts.model), is_watched(other)) == (False, True)
    parts.collector.watch.disarm()
    assert (is_watched(other), parts.collector.watch.armed) == (False, False)


@pytest.mark.parametrize("retained", [False, True])
def test_what_an_armed_forward_shows_is_held_for_its_step(parts: Parts, retained: bool) -> None:
    parts.collector.watch.arm(parts.model, retained=not retained)
    parts.collector.watch.arm(parts.model, retained=retained)
    parts.model(parts.tokens)
    builder = parts.collector.collect(parts.model, parts.tokens, None)
    assert (builder.seen_in, builder.retained) == ("forward", retained)
    assert len(parts.session.written) == 2, "two layers"


def test_who_wants_a_probe_is_not_armed(settings: Settings) -> None:
    parts = Parts(replace(settings, capture="probe"))
    parts.collector.watch.arm(parts.model)
    assert not parts.collector.watch.armed


def test_a_model_that_was_compiled_by_watching_is_not_armed_again(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.collector.watch.arm(parts.model)
    parts.collector.watch.avoid()
    assert not parts.collector.watch.armed
    parts.collector.watch.arm(parts.model)
    assert not parts.collector.watch.armed
    assert "It will not be again" in caplog.text


@pytest.mark.parametrize(("capture", "watched"), [("auto", False), ("forward", True)])
def test_a_frozen_part_is_not_watched_unless_that_is_asked_for(
    capture: Any, watched: bool, settings: Settings
) -> None:
    """Under the tap its results would differ in the last bits."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.TransformerEncoderLayer(8, 2).eval()

    parts, model = Parts(replace(settings, capture=capture)), Mixed()
    for parts.probe.allowed in (True, False):
        parts.collector.watch.arm(model)
        assert parts.collector.watch.armed == watched
        parts.collector.watch.reset()


def test_a_block_shows_whatever_forward_is_made_in_it(parts: Parts) -> None:
    with parts.collector.watch.watch_block((parts.tokens,), retained=True):
        parts.model(parts.tokens)
    builder = parts.collector.collect(None, None, None)
    assert (builder.seen_in, builder.retained, len(builder.attentions)) == ("forward", True, 2)


def test_a_block_that_fails_shows_nothing_and_its_error_is_the_users(parts: Parts) -> None:
    def block() -> None:
        with parts.collector.watch.watch_block():
            parts.model(parts.tokens)
            raise KeyError("the user's")

    with pytest.raises(KeyError):
        block()
    assert parts.collector._forward.pop_held() is None
    assert parts.session.slots_in_use == 0


def test_an_error_of_ours_in_a_block_is_raised_when_its_step_is_logged(parts: Parts) -> None:
    parts.collector.registry.set_calls({("", 0): CallInfo.of(any_call(""))})
    parts.session.error = ValueError("ours")
    with parts.collector.watch.watch_block((parts.tokens,)):
        parts.model(parts.tokens)
    with pytest.raises(ValueError, match="ours"):
        parts.collector.collect(parts.model, parts.tokens, None)
    assert parts.session.slots_in_use == 0


def test_compiled_code_is_not_watched_in_a_block(parts: Parts) -> None:
    parts.collector.registry.compiled = True
    with parts.collector.watch.watch_block((parts.tokens,)):
        parts.model(parts.tokens)
    assert parts.session.builders == []


def test_a_reset_frees_what_was_held(parts: Parts) -> None:
    parts.collector.watch.arm(parts.model)
    parts.hold(parts.tokens)
    parts.collector.watch.reset()
    assert (parts.session.slots_in_use, parts.collector.watch.armed) == (0, False)
    assert parts.collector._forward.pop_held() is None
