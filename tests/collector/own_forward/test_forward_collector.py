"""What becomes of a tap's reports: each test reports by hand what a forward would."""

import pytest
import torch
from support.collecting import FakeSession, any_call

from attnmon.accounting.error_guard import ErrorGuard
from attnmon.capture import CallInfo, SdpaCall
from attnmon.collector.inputs.image_collector import ImageCollector
from attnmon.collector.inputs.input_tokens import InputTokens
from attnmon.collector.own_forward import forward_collector
from attnmon.collector.own_forward.forward_collector import ForwardCollector
from attnmon.collector.own_forward.held_forward import HeldForward
from attnmon.config.settings import checked_settings
from attnmon.layers.layer_registry import LayerRegistry
from attnmon.layers.layer_selection import LayerSelection

TOKENS = torch.zeros(3, 4)


class Parts:
    def __init__(self, sample: int = 1, layers: tuple[int, ...] | None = None) -> None:
        self.session, self.compiled = FakeSession(), 0
        self.registry = LayerRegistry(LayerSelection(layers, None), ErrorGuard(), dict)
        self.forward = ForwardCollector(
            self.session,  # type: ignore[arg-type]
            self.registry,
            self.on_compiled,
            sample,
            InputTokens(None, self.session.guard),
            ImageCollector(
                checked_settings(options={}, save_dir="."),
                self.session,  # type: ignore[arg-type]
                self.registry,
            ),
        )

    def on_compiled(self) -> None:
        self.compiled += 1

    def know(self, *names: str) -> None:
        self.registry.set_calls({(name, 0): CallInfo.of(any_call(name)) for name in names})

    def report(self, *names: str, batch: int = 3, completed: bool = True) -> None:
        """One forward of a batch of three, with these attention calls."""
        self.forward.on_forward_start((TOKENS,))
        for name in names:
            self.forward.on_call(any_call(name, batch))
        self.forward.on_forward_end(completed)

    @property
    def written(self) -> list[str]:
        return [name for name, _, _ in self.session.written]


@pytest.fixture
def parts() -> Parts:
    return Parts()


def test_known_layers_are_written_at_once(parts: Parts) -> None:
    parts.know("a", "b")
    parts.forward.retained = True
    parts.report("a", "b")
    assert parts.session.written == [("a", 1, 3), ("b", 1, 3)]
    held = parts.forward.pop_held()
    assert held is not None
    assert (held.builder.seen_in, held.builder.retained, held.builder.sample) == (
        "forward", True, 1,
    )  # fmt: skip
    assert parts.forward.pop_held() is None


def test_the_first_forward_finds_the_layers_and_writes_what_it_cloned() -> None:
    parts = Parts(layers=(-1,))
    parts.forward.on_forward_start((TOKENS,))
    call = any_call("b")
    assert call.query is not None
    expected = call.query[1].clone()
    for name in ("a", "b"):
        parts.forward.on_call(call if name == "b" else any_call(name))
    assert parts.written == [], "the last layer is not known yet"
    call.query.zero_()  # as a model may do that goes on computing
    parts.forward.on_forward_end(True)
    assert list(parts.registry.call_infos) == [("a", 0), ("b", 0)]
    assert parts.registry.call_infos["a", 0].batch == 3
    assert parts.session.written == [("b", 0, None)]
    assert parts.session.calls[0].query is not None
    assert torch.equal(parts.session.calls[0].query, expected)


def test_a_layer_that_was_not_chosen_is_not_written() -> None:
    parts = Parts(layers=(0,))
    parts.know("a", "b")
    parts.report("a", "b")
    assert parts.written == ["a"]


def test_a_layer_that_was_not_called_before_is_added_and_written(parts: Parts) -> None:
    """As with layer drop: each forward calls others, and each of them is a capture."""
    parts.know("a")
    parts.report("a", "new")
    assert list(parts.registry.call_infos) == [("a", 0), ("new", 0)]
    assert parts.written == ["a", "new"]
    assert parts.forward.pop_held() is not None
    parts.report("new")
    assert parts.forward.pop_held() is not None


def test_only_the_latest_forward_is_held(parts: Parts) -> None:
    parts.know("a")
    for _ in range(3):
        parts.report("a")
    assert parts.session.slots_in_use == 1


def test_a_forward_that_failed_shows_nothing(parts: Parts) -> None:
    parts.know("a")
    parts.report("a", completed=False)
    assert (parts.forward.pop_held(), parts.session.slots_in_use) == (None, 0)


def test_an_error_of_ours_is_raised_once_when_it_is_asked_for(parts: Parts) -> None:
    parts.know("a")
    parts.forward.on_forward_start((TOKENS,))
    parts.forward.on_call(any_call("a"))
    for text in ("first", "second"):
        parts.forward.on_error(ValueError(text))
    parts.forward.on_call(any_call("a"))
    assert parts.written == ["a"], "nothing more is written"
    parts.forward.on_forward_end(True)
    with pytest.raises(ValueError, match="first"):
        parts.forward.pop_held()
    assert parts.session.slots_in_use == 0
    assert parts.forward.pop_held() is None


def test_a_call_is_copied_by_its_signature_where_that_is_known(parts: Parts) -> None:
    query = torch.zeros(3, 2, 4, 8)
    call = SdpaCall("a", 0, ("signature",), query, query, None, None, 3)
    parts.know("a")
    assert not parts.forward.on_sdpa_call(call), "there is no forward"
    parts.forward.on_forward_start((TOKENS,))
    assert not parts.forward.on_sdpa_call(call), "it has to be described"
    parts.session.knows_signatures = True
    assert parts.forward.on_sdpa_call(call)
    assert parts.session.written == [("a", 1, 3)]
    assert not parts.forward.on_sdpa_call(call._replace(name="not chosen"))


def test_a_compilation_while_it_was_watched_is_reported(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter((4, 5))
    monkeypatch.setattr(forward_collector, "compilations", lambda: next(count))
    parts.know("a")
    parts.report("a")
    assert (parts.compiled, parts.session.slots_in_use) == (1, 0)


def test_a_graph_that_is_recorded_is_left_alone(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_collector, "is_recording_a_graph", lambda: True)
    parts.know("a")
    parts.report("a")
    assert (parts.session.builders, parts.written) == ([], [])


def test_attention_that_cannot_be_captured_is_noted(parts: Parts) -> None:
    parts.forward.on_unsupported("odd", "why")
    assert dict(parts.registry.unsupported) == {"odd": "why"}


def test_what_is_reported_is_timed(parts: Parts) -> None:
    with parts.forward.timed():
        pass
    assert parts.session.counters.hook_seconds > 0


# Which sample


def test_a_batch_that_is_too_small_shows_its_last_sample() -> None:
    parts = Parts(sample=7)
    parts.know("a", "b")
    parts.report("a", "b")
    assert parts.session.written == [("a", 2, 3), ("b", 2, 3)]
    held = parts.forward.pop_held()
    assert held is not None
    assert held.builder.sample == 2


def held(sample: int, *shapes: tuple[int, ...]) -> HeldForward:
    builder = FakeSession().new_builder(sample=sample, seen_in="forward", retained=False)
    inputs = tuple(torch.zeros(shape) for shape in shapes)
    return HeldForward(builder, inputs, shapes[0][0])


def test_an_attention_of_fewer_samples_than_the_inputs_told_decides_for_all() -> None:
    forward = held(3, (8, 4))
    assert forward.sample_in(8) == 3
    assert forward.sample_in(1) == 0, "one for all samples"
    assert forward.sample_in(2) == 1
    assert forward.sample_in(8) == 1, "the same sample from here on"


def test_it_is_known_of_which_tensors_a_forward_was() -> None:
    forward = held(0, (2, 3))
    assert forward.is_of(forward.inputs)
    assert forward.is_of((torch.zeros(1), *forward.inputs))
    assert not forward.is_of((torch.zeros(2, 3),)), "equal is not the same"
    assert forward.is_of(()), "none were logged"


def test_what_watching_costs_beside_the_time_counted_inside_is_counted_too(parts: Parts) -> None:
    parts.know("a")
    counters, told = parts.session.counters, []
    for _ in range(30):
        told.append(counters.hook_seconds)
        parts.report("a")
        counters.hook_seconds += 0.1
        parts.forward.on_forward_timed(1.5, watched=True)
        parts.forward.on_forward_timed(1.0, watched=False)
    assert counters.hook_seconds - told[20] == pytest.approx(10 * 0.5)
