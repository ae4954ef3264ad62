"""A batch of the user's is looked at at every due step, so that maps show the same text."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.models import LanguageModel, batch
from support.outputs import history, summary
from torch import Tensor, nn

from attnmon import LightweightAttentionMonitor, TrainingAttentionMonitor
from attnmon.capture.model.fingerprint import fingerprint
from attnmon.collector.probe.probe_batch import ProbeBatch

RAW: Any = {"visualization_types": ["statistics"], "save_raw_weights": True, "save_frequency": 2}
LONG, SHORT = 11, 5


def train(model: nn.Module, monitor: Any, steps: int = 5, **logged: Any) -> list[float]:
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.1), []
    for step in range(steps):
        torch.manual_seed(step)
        text = batch(3, LONG)
        loss = model(text).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if monitor is not None:
            monitor.log_attention(model, text, step=step, loss=loss.item(), **logged)
    return losses


def lengths(folder: Path) -> dict[int, tuple[str, int]]:
    """Where each step's layers were seen, and how many queries they have."""
    return {
        line["metadata"]["step"]: (line["metadata"]["seen_in"], line["decoder"][0]["shape"][1])
        for line in history(folder)
    }


def first_layer(model: LanguageModel, tokens: Tensor) -> Tensor:
    """The weights [heads, queries, keys] of the first layer, written out in float64."""
    hidden = model.embedding.weight.double()[tokens]
    attention: Any = model.blocks[0]
    projected = hidden @ attention.projection.weight.double().T + attention.projection.bias.double()
    query, key, _ = (
        part.view(len(tokens), attention.heads, -1).transpose(0, 1)
        for part in projected.split(hidden.shape[-1], dim=-1)
    )
    logits = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
    return logits.masked_fill(torch.ones(logits.shape[1:]).triu(1).bool(), -torch.inf).softmax(-1)


def test_each_due_step_shows_the_same_sample_and_training_stays_what_it_was(tmp_path: Path) -> None:
    """The maps are those of the model as it is then, of a copy of the batch."""
    torch.manual_seed(7)
    shown, expected = batch(2, SHORT), {}
    alone, watched = LanguageModel(), LanguageModel()
    watched.load_state_dict(alone.state_dict())
    sample = shown[1].clone()
    with TrainingAttentionMonitor(
        tmp_path, probe=shown, batch_idx_to_visualize=1, layers_to_visualize="all", **RAW
    ) as monitor:
        shown.zero_()
        log = monitor.log_attention

        def and_remember(model: Any, text: Tensor, step: int, loss: float) -> None:
            expected[step] = first_layer(model, sample)
            log(model, text, step=step, loss=loss)

        monitor.log_attention = and_remember  # type: ignore[assignment, method-assign]
        losses = train(watched, monitor)
    assert losses == train(alone, None)
    assert lengths(tmp_path) == dict.fromkeys((0, 2, 4), ("probe", SHORT))
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["probe"] == fingerprint(batch(2, SHORT)), "by which runs are compared"
    for step in (0, 2, 4):
        weights = load_file(next(tmp_path.glob(f"*step_{step}/*.safetensors")))
        (first,) = (each for name, each in weights.items() if "layer0" in name)
        assert torch.allclose(first.double(), expected[step], atol=1e-6)


def test_where_no_extra_forward_may_be_made_the_own_one_is_shown_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LightweightAttentionMonitor(
        tmp_path, save_frequency=2, capture="forward", probe=batch(1, SHORT)
    ) as monitor:
        train(LanguageModel(), monitor)
    assert set(lengths(tmp_path).values()) == {("forward", LONG)}
    assert caplog.text.count("probe= is not looked at") == 1
    assert any("probe= is not" in each for each in summary(tmp_path)["warnings"])


def test_several_processes_make_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with LightweightAttentionMonitor(tmp_path, probe=batch(1, SHORT), save_frequency=2) as monitor:
        train(LanguageModel(), monitor)
    assert set(lengths(tmp_path).values()) == {("forward", LONG)}
    assert caplog.text.count("one of several processes") == 1


class Momentum(LanguageModel):
    """Writes to a parameter in its forward."""

    def forward(self, tokens: Tensor) -> Tensor:
        with torch.no_grad():
            self.head.bias.mul_(0.5)
        result: Tensor = super().forward(tokens)
        return result


def test_a_forward_that_is_stopped_is_shown_from_the_next_step_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(7)
    model, alone = Momentum(), Momentum()
    model.load_state_dict(alone.state_dict())
    with LightweightAttentionMonitor(tmp_path, probe=batch(1, SHORT), save_frequency=2) as monitor:
        losses = train(model, monitor)
    assert losses == train(alone, None)
    assert lengths(tmp_path) == dict.fromkeys((1, 2, 4), ("forward", LONG))
    assert caplog.text.count("probe= is not looked at: its extra forward") == 1


def test_what_is_logged_as_tokens_is_not_the_probes(tmp_path: Path) -> None:
    tokenizer = lambda given: ["probe"] * given.shape[1]  # noqa: E731
    settings: Any = {**RAW, "save_frequency": 4, "probe": batch(1, LONG)}
    with TrainingAttentionMonitor(tmp_path / "a", **settings) as monitor:
        train(LanguageModel(), monitor, tokens=["logged"] * LONG)
    with TrainingAttentionMonitor(tmp_path / "b", tokenizer=tokenizer, **settings) as monitor:
        train(LanguageModel(), monitor, tokens=["logged"] * LONG)
    for folder, expected in (("a", None), ("b", ["probe"] * LONG)):
        path = next((tmp_path / folder).glob("*step_4/*.safetensors"))
        raw = path.read_bytes()
        about = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        assert json.loads(about.get("decoder_tokens") or "null") in (expected, expected or [])


def test_retained_steps_are_the_trainings_own(tmp_path: Path) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(
        tmp_path, probe=batch(1, SHORT), save_frequency=10, keep_last=2
    ) as monitor:
        train(model, monitor, steps=6)
        monitor.dump("why")
    assert lengths(tmp_path) == {0: ("probe", SHORT), 4: ("forward", LONG), 5: ("forward", LONG)}


def test_an_attached_model_needs_not_be_logged(tmp_path: Path) -> None:
    model = LanguageModel()
    with LightweightAttentionMonitor(tmp_path, probe=batch(1, SHORT), save_frequency=2) as monitor:
        monitor.attach(model)
        for step in range(3):
            model(batch(2, LONG)).sum().backward()
            monitor.log_attention(step=step)
    assert lengths(tmp_path) == {0: ("probe", SHORT), 2: ("probe", SHORT)}


def test_a_probe_without_tensors_is_a_mistake(tmp_path: Path) -> None:
    for wrong in ("The cat sat.", {}, 3):
        with pytest.raises(TypeError, match="give a batch, as log_attention takes it"):
            TrainingAttentionMonitor(tmp_path / "logs", probe=wrong)
    assert not (tmp_path / "logs").exists()


def test_a_pair_is_enc_and_dec() -> None:
    one, other, model = torch.zeros(1, 2), torch.ones(1, 2), nn.Linear(1, 1)
    enc, dec = ProbeBatch((one, {"mask": other})).inputs_for(model)
    assert torch.equal(enc, one)
    assert torch.equal(dec["mask"], other)
    named, none = ProbeBatch({"x": one}).inputs_for(model)
    assert none is None
    assert named["x"] is not one


# In the callbacks


def test_the_trainer_shows_it_too(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from support.hf_trainer import logged, trainer

    from attnmon.integrations.huggingface import AttentionCallback

    alone = trainer(tmp_path / "alone", max_steps=4)
    alone.train()
    callback = AttentionCallback(
        tmp_path / "logs", save_frequency=2, probe={"input_ids": batch(1, SHORT)},
        visualization_types=["statistics"], use_tensorboard=False,
    )  # fmt: skip
    watched = trainer(tmp_path / "watched", callback, max_steps=4)
    watched.train()
    assert logged(watched, "loss") == logged(alone, "loss")
    assert lengths(tmp_path / "logs") == dict.fromkeys((1, 2, 4), ("probe", SHORT))


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec")
def test_lightning_shows_it_too(tmp_path: Path) -> None:
    package = pytest.importorskip("lightning.pytorch")
    from support.lightning_trainer import fit

    from attnmon.integrations.lightning import AttentionCallback

    alone = fit(package, tmp_path, max_steps=4)
    callback = AttentionCallback(
        tmp_path / "logs", save_frequency=2, probe=batch(1, SHORT + 1),
        visualization_types=["statistics"], use_tensorboard=False,
    )  # fmt: skip
    assert fit(package, tmp_path, callback, max_steps=4).losses == alone.losses
    assert lengths(tmp_path / "logs") == dict.fromkeys((0, 2), ("probe", SHORT))
