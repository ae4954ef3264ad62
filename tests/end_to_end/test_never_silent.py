"""What is not captured is said where people look: on standard error, in the files, by `close`."""

import logging.config
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.models import LanguageModel, batch
from support.outputs import history, summary
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.link.channel import PACKET_BYTES, Channel

OFF = "attnmon is off from now on"


@pytest.fixture
def no_loggers() -> Any:
    """A configuration that disables all loggers that exist, as `dictConfig` does by default."""
    logging.config.dictConfig({"version": 1})
    yield
    logging.getLogger("attnmon").disabled = False


class Additive(nn.Module):
    """Attends by added scores, which cannot be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.c(torch.tanh(self.a(x)[:, :, None] + self.b(x)[:, None]))[..., 0]
        return scores.softmax(-1) @ x


class ReadsArrays(LanguageModel):
    def forward(self, tokens: Any) -> Tensor:
        return super().forward(torch.as_tensor(tokens))


class Picky(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("this model wants nine features")


@pytest.mark.parametrize(
    ("kind", "why"), [(Additive, "no attention was seen"), (Picky, "wants nine features")]
)
def test_a_monitor_that_gives_up_says_so_though_loggers_are_disabled(
    kind: Any, why: str, no_loggers: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monitor = LightweightAttentionMonitor(tmp_path, 1)
    for step in range(5):
        monitor.log_attention(kind(), torch.randn(2, 5, 8), step=step)
    said = capfd.readouterr().err
    assert said.count(OFF) == 1
    accounts = monitor.close()
    places = {"standard error": said, "close()": accounts["off"], "file": summary(tmp_path)["off"]}
    assert {place: why in text for place, text in places.items()} == dict.fromkeys(places, True)
    assert any(why in warning for warning in summary(tmp_path)["warnings"])


def test_a_monitor_without_a_renderer_says_so_in_a_summary(
    no_loggers: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    why = "there is no renderer to attach to"
    monitor = TrainingAttentionMonitor(tmp_path, 1, renderer=str(tmp_path / "nobody.sock"))
    assert summary(tmp_path)["state"] == "off"
    monitor.log_attention(LanguageModel(), batch(), step=0)
    accounts = monitor.close()
    said = capfd.readouterr().err
    assert said.count(OFF) == 1
    for text in (said, summary(tmp_path)["off"], accounts["off"]):
        assert why in text


class ByName(nn.Module):
    """A model that scripts call by other names than its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = LanguageModel()

    def forward(self, tokens: Tensor) -> Tensor:
        return self.inner(tokens)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.inner.forward(tokens)


def in_validation(model: ByName, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return model(tokens)


MISSED = {
    "forward": (lambda model, tokens: model.forward(tokens), "was not called as model(...)"),
    "a method": (lambda model, tokens: model.encode(tokens), "was not called as model(...)"),
    "a part": (lambda model, tokens: model.inner(tokens), "was not called as model(...)"),
    "nothing": (lambda model, tokens: None, "was not called as model(...)"),
    "validation": (in_validation, "without gradients only"),
}


@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize("way", MISSED)
def test_a_forward_that_never_comes_is_said_once_with_the_remedy(
    way: str, attached: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, (call, cause) = ByName(), MISSED[way]
    options: Any = {} if attached else {"capture": "forward"}
    with LightweightAttentionMonitor(tmp_path, 1, **options) as monitor:
        if attached:
            monitor.attach(model)
        for step in range(4):
            call(model, batch(seed=step))
            logged = () if attached else (model, batch(seed=step))
            monitor.log_attention(*logged, step=step)
        assert monitor.enabled
        (row,) = monitor.coverage()
    (said,) = caplog.messages
    for text in ("the forward of ByName was not seen", cause, "monitor.capture(step)"):
        assert text in said
    assert "capture='auto'" in said or attached
    (listed,) = summary(tmp_path)["not_seen"]
    assert (cause in row.why, cause in listed) == (True, True)
    assert summary(tmp_path)["warnings"] == [said[:500]]


def test_a_forward_inside_compiled_code_is_said_to_be_perhaps_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    run = torch.compile(lambda tokens: model(tokens).sum(), backend="eager")
    with LightweightAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        for step in range(4):
            run(batch(seed=step)).backward()
            monitor.log_attention(model, batch(seed=step), step=step)
        assert monitor.enabled
    (said,) = (each.getMessage() for each in caplog.records if each.name == "attnmon")
    assert "Nor is a call that compiled code makes" in said


def test_a_forward_that_is_not_called_is_seen_by_an_extra_one_and_what_that_costs_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = ByName()
    caplog.set_level(logging.INFO, "attnmon")
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step in range(4):
            model.forward(batch(seed=step))
            monitor.log_attention(model, batch(seed=step), step=step)
    accounts = monitor.close()
    assert (accounts["rendered"], accounts["not_seen"], accounts["warnings"]) == (4, [], [])
    (said,) = (text for text in caplog.messages if "was not called as model(...)" in text)
    assert "each capture costs an extra forward" in said


def test_a_forward_that_comes_late_or_twice_is_no_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, monitor = LanguageModel(), LightweightAttentionMonitor(tmp_path, 1, max_overhead=None)
    monitor.attach(model)
    for step in range(6):
        if step % 2:  # every other batch is left out
            model(batch()).sum().backward()
            model(batch(seed=step)).sum().backward()
            in_validation(model, batch())  # type: ignore[arg-type]
        monitor.log_attention(step=step)
    assert monitor.close()["captured"] == 3
    assert caplog.messages == []
    assert monitor.coverage()[0].captured


LOGGED: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any], bool]] = {
    "the next batch": (lambda x: x, lambda x: x + 1, True),
    "more of it": (lambda x: x[:, :-1], lambda x: x, True),
    "the tensor": (lambda x: x, lambda x: x, False),
    "a slice written twice": (lambda x: x[:, :-1], lambda x: x[:, :-1], False),
    "what was moved or copied": (lambda x: x.clone(), lambda x: x, False),
    "what was cast": (lambda x: x.int(), lambda x: x, False),
    "an array, made twice": (lambda x: x.numpy(), lambda x: x.numpy(), False),
    "an array's copy": (lambda x: x.numpy(), lambda x: x.numpy().copy(), False),
    "an array and a tensor": (lambda x: x.numpy(), lambda x: x, False),
    "the next array": (lambda x: x.numpy(), lambda x: x.numpy() + 1, True),
}
"""What the model is called with, what is logged, and whether these are different batches."""


@pytest.mark.parametrize("way", LOGGED)
def test_tensors_that_the_model_was_not_called_with_are_said_once(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called, logged, are_others = LOGGED[way]
    model = ReadsArrays()
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step in range(4):
            tokens = batch(seed=step) % 30
            model(called(tokens)).sum().backward()
            monitor.log_attention(model, logged(tokens), step=step)
    seen_in = [line["metadata"]["seen_in"] for line in history(tmp_path)]
    if are_others:
        (said,) = caplog.messages
        assert "log_attention are not those of the model's latest forward" in said
        assert "each capture costs an extra forward" in said
        assert seen_in == ["probe"] * 4
    else:
        assert caplog.messages == []
        assert seen_in == ["probe", *["forward"] * 3]


def test_what_a_function_of_the_users_own_makes_of_the_inputs_is_no_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel()
    options: Any = {"forward_fn": lambda model, enc, dec: model(enc["text"] % 30)}
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None, **options) as monitor:
        for step in range(4):
            tokens = batch(seed=step)
            model(tokens % 30).sum().backward()
            monitor.log_attention(model, {"text": tokens}, step=step)
    assert caplog.messages == []
    assert monitor.close()["captured"] == 4


def test_a_fixed_batch_that_is_logged_at_every_step_is_no_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, fixed = LanguageModel(), batch()
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step in range(4):
            model(batch(seed=step + 1)).sum().backward()
            monitor.log_attention(model, fixed, step=step)
    assert caplog.messages == []
    assert [line["metadata"]["seen_in"] for line in history(tmp_path)] == ["probe"] * 4


def files_with_weights(folder: Path) -> dict[str, Tensor]:
    return {
        str(file.relative_to(folder)): next(iter(load_file(file).values()))
        for file in folder.rglob("attention_weights.safetensors")
    }


def test_a_second_model_of_a_step_replaces_nothing_and_is_told_to_have_its_own_monitor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second has another number of positions, by which its weights are told apart."""
    maker, judge = LanguageModel(), nn.Sequential(LanguageModel())
    options: dict[str, Any] = {"save_raw_weights": True, "use_tensorboard": False}
    with TrainingAttentionMonitor(tmp_path, 2, max_overhead=None, **options) as monitor:
        for step in range(5):
            for model, length in ((maker, 7), (judge, 5)):
                tokens = batch(length=length, seed=step)
                model(tokens).sum().backward()
                monitor.log_attention(model, tokens, step=step)
        rows = {row.name: row.why for row in monitor.coverage()}
    (said,) = caplog.messages
    assert "two models, LanguageModel and Sequential, are logged with one monitor under the" in said
    assert "use a monitor with a save_dir of its own for each model" in said
    assert "give this one a monitor of its own" in rows["Sequential"]
    shown = files_with_weights(tmp_path)
    assert {name: weights.shape[-1] for name, weights in shown.items()} == {
        f"step_{step}/attention_weights.safetensors": 7 for step in (0, 2, 4)
    }


def test_a_second_model_that_is_attached_takes_the_place_of_the_first_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = LanguageModel(), LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        for model in (first, first, nn.DataParallel(first)):
            monitor.attach(model)
        monitor.detach()
        monitor.attach(second)
        assert caplog.messages == []
        monitor.attach(first)
    (said,) = caplog.messages
    assert "two models, LanguageModel and LanguageModel, are attached to one monitor" in said


def test_models_that_are_logged_in_turn_are_said_and_one_after_the_other_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = LanguageModel(), LanguageModel()
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step, model in enumerate((first, first, second, second)):
            monitor.log_attention(model, batch(), step=step)
        assert caplog.messages == []
        monitor.log_attention(first, batch(), step=4)
        assert monitor.close()["captured"] == 5
    (said,) = caplog.messages
    assert "are logged with one monitor in turn" in said


class ManyTurns(nn.Module):
    """Attends once for every symbol that it writes, with an attention of a long name."""

    def __init__(self, turns: int) -> None:
        super().__init__()
        self.turns = turns
        self.add_module(50 * "look", nn.MultiheadAttention(8, 2, batch_first=True))

    def forward(self, memory: Tensor) -> Tensor:
        (look,), state = self.children(), memory[:, :1]
        for _ in range(self.turns):
            state = state + look(state, memory, memory, need_weights=False)[0]
        return state


def test_a_capture_of_very_many_layers_is_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of so many that no packet has room for their description."""
    send, lengths = Channel.send, list[int]()

    def noted(channel: Channel, data: bytes, descriptors: Sequence[int] = ()) -> bool:
        lengths.append(len(data))
        return send(channel, data, descriptors)

    monkeypatch.setattr(Channel, "send", noted)
    model = ManyTurns(250)
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step in range(2):
            monitor.log_attention(model, torch.randn(2, 5, 8), step=step)
    assert [len(line["encoder"] + line["decoder"]) for line in history(tmp_path)] == [250] * 2
    assert max(lengths) > PACKET_BYTES
    assert (monitor.close()["rendered"], caplog.messages) == (2, [])


class Mixed(nn.Module):
    """One attention that is seen, one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.attention = nn.MultiheadAttention(8, 2, batch_first=True), Additive()

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.seen(x, x, x, need_weights=False)[0])


class Ragged(nn.Module):
    """Attends to nested tensors, as they are or padded."""

    def __init__(self, pads: bool) -> None:
        super().__init__()
        self.pads, self.inputs, self.num_heads = pads, nn.Linear(16, 48), 2

    def forward(self, x: Tensor) -> Tensor:
        x = x.to_padded_tensor(0.0) if self.pads else x
        query, key, value = (
            part.contiguous().unflatten(-1, [2, 8]).transpose(1, 2)
            for part in self.inputs(x).chunk(3, -1)
        )
        return nn.functional.scaled_dot_product_attention(query, key, value)


class InParts(nn.Module):
    """Attends with weights that are used in two parts, and then once more."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.MultiheadAttention(8, 2, batch_first=True)
        self.parts = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        weights = (self.parts(x) @ x.mT).softmax(-1)
        y = weights[..., :2] @ x[:, :2] + weights[..., 2:] @ x[:, 2:]
        return self.whole(x, y, y, need_weights=False)[0]


def test_what_is_refused_at_the_end_of_a_forward_is_refused_in_the_next_ones(
    tmp_path: Path,
) -> None:
    model = InParts()
    with LightweightAttentionMonitor(tmp_path, 1, capture="forward", max_overhead=None) as monitor:
        monitor.attach(model)
        for step in range(5):
            model(torch.randn(3, 5, 8)).sum().backward()
            monitor.log_attention(step=step)
        rows = {row.name: row.captured for row in monitor.coverage()}
    assert rows == {"whole": True, "": False}
    layers = [line["encoder"] + line["decoder"] for line in history(tmp_path)]
    assert [len(each) for each in layers] == [1] * 5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("pads", [True, False])
@pytest.mark.parametrize("capture", ["auto", "forward"])
def test_nested_tensors_are_refused_by_name_and_what_pads_them_is_seen(
    pads: bool, capture: Any, tmp_path: Path
) -> None:
    model, parts = Ragged(pads), [torch.randn(3, 16), torch.randn(5, 16)]
    with LightweightAttentionMonitor(tmp_path, 1, capture=capture, max_overhead=None) as monitor:
        for step in range(3):
            x = torch.nested.nested_tensor(parts, layout=torch.jagged)
            model(x)
            monitor.log_attention(model, x, step=step)
        ((captured, why),) = [(row.captured, row.why) for row in monitor.coverage()]
    accounts = monitor.close()
    assert (captured, accounts["failed"]) == (pads, 0)
    assert ("nested tensors: pass padded ones" in why) != pads
    assert accounts["rendered"] == (2 if pads else 0), "the first step has no forward to look at"


@pytest.mark.parametrize("attached", [True, False])
def test_an_own_forward_that_shows_no_attention_is_said_and_has_rows(
    attached: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = nn.ModuleDict({"attention": Additive(), "rest": nn.Linear(8, 8)})
    model.forward = lambda x: model["rest"](model["attention"](x))  # type: ignore[method-assign]
    with LightweightAttentionMonitor(tmp_path, 1, capture="forward") as monitor:
        for step in range(2):
            x = torch.randn(2, 5, 8)
            if attached:
                monitor.attach(model)
            model(x).sum().backward()
            monitor.log_attention(*(() if attached else (model, x)), step=step)
        assert [row.name for row in monitor.coverage()] == ["attention"]
    (said,) = caplog.messages
    assert "no attention was seen in ModuleDict" in said
    assert summary(tmp_path)["captured"] == 0


def test_a_module_that_looks_like_attention_and_told_nothing_has_a_row(
    no_loggers: None, tmp_path: Path
) -> None:
    model = Mixed()
    with LightweightAttentionMonitor(tmp_path, 1, max_overhead=None) as monitor:
        for step in range(3):
            x = torch.randn(2, 5, 8)
            model(x).sum().backward()
            monitor.log_attention(model, x, step=step)
        rows = {row.name: (row.captured, row.why) for row in monitor.coverage()}
    assert rows["seen"] == (True, "")
    captured, why = rows["attention"]
    assert (captured, why[:27]) == (False, "its attention was not seen:")
    assert monitor.close()["not_seen"] == summary(tmp_path)["not_seen"] == [f"attention: {why}"]


def scripted(model: nn.Module, x: Tensor) -> Any:
    return torch.jit.script(model)


def exported(model: nn.Module, x: Tensor) -> Any:
    return torch.export.export(model, (x,)).module()


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(("make", "what"), [(scripted, "TorchScript"), (exported, "torch.export")])
def test_a_program_is_said_to_be_one_in_every_place(
    make: Callable[[nn.Module, Tensor], Any],
    what: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    x = torch.randn(2, 5, 8)
    program = make(Additive(), x)
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        for step in range(3):
            program(x).sum().backward()
            monitor.log_attention(program, x, step=step)
        (row,) = monitor.coverage()
    accounts = monitor.close()
    for text in (caplog.text, row.why, accounts["off"], *summary(tmp_path)["not_seen"]):
        assert what in text


def frozen_by_its_bundler(app: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "frozen", True, raising=False)


def frozen_by_nuitka(app: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules["__main__"], "__compiled__", True, raising=False)


def embedding_python(app: Path, patch: pytest.MonkeyPatch) -> None:
    other = app.with_name("trainer")
    app.rename(other)
    patch.setattr(sys, "executable", str(other))


@pytest.mark.parametrize("become", [frozen_by_its_bundler, frozen_by_nuitka, embedding_python])
def test_a_frozen_application_is_not_started_again_and_says_what_to_do(
    become: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, started = tmp_path / "python-trainer", tmp_path / "started"
    app.write_text(f"#!/bin/sh\ntouch {started}\n")
    app.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(app))
    become(app, monkeypatch)
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path / "logs", 1) as monitor:
        for step in range(3):
            model(batch()).sum().backward()
            monitor.log_attention(model, batch(), step=step)
    time.sleep(0.2)
    assert not started.exists()
    assert len(caplog.messages) == 1
    for text in (caplog.text, monitor.close()["off"], summary(tmp_path / "logs")["off"]):
        assert "a frozen application" in text
        assert "Start `attnmon-renderer` on this machine before the training" in text


def test_a_monitor_that_is_on_says_so_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with LightweightAttentionMonitor(tmp_path, 1) as monitor:
        monitor.log_attention(LanguageModel(), batch(), step=0)
    accounts, said = monitor.close(), summary(tmp_path)
    for name, nothing in {"off": None, "not_seen": [], "warnings": []}.items():
        assert (accounts[name], said[name]) == (nothing, nothing)
    assert capfd.readouterr().err == ""
