"""Real trainings by Hugging Face's Trainer, with the callback and without."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.forked_script import run_source
from support.guide import code_in
from support.outputs import check_outputs, history, summary

pytest.importorskip("transformers")

from support.hf_trainer import HEADS, LENGTH, TEXT, logged, trainer
from support.tapping import is_watched
from transformers import TrainerCallback

from attnmon.integrations.huggingface import AttentionCallback

QUICK: Any = {"visualization_types": ["statistics"], "use_tensorboard": False}


def steps_in(folder: Path) -> list[int]:
    return [line["metadata"]["step"] for line in history(folder)]


def test_a_training_is_watched_and_is_bitwise_the_same(tmp_path: Path) -> None:
    """With gradients accumulated, and an evaluation every few steps."""
    arguments = {
        "gradient_accumulation_steps": 2, "eval_strategy": "steps", "eval_steps": 3,
        "lr_scheduler_type": "linear",
    }  # fmt: skip
    alone = trainer(tmp_path / "alone", **arguments)
    alone.train()
    state_alone = torch.get_rng_state()
    callback = AttentionCallback(save_frequency=8, layers_to_visualize="all")
    watched = trainer(tmp_path / "watched", callback, **arguments)
    watched.train()
    assert torch.equal(torch.get_rng_state(), state_alone)
    assert logged(watched, "loss") == logged(alone, "loss")
    assert logged(watched, "eval_loss") == logged(alone, "eval_loss")
    pairs = zip(watched.model.parameters(), alone.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)

    logs = tmp_path / "watched" / "attention_logs"
    lines = history(logs)
    losses, rates = logged(watched, "loss"), logged(watched, "learning_rate")
    first_of_epoch_1 = 6  # 40 samples are 10 batches of 4, and 5 steps of 2 batches
    assert steps_in(logs) == [1, first_of_epoch_1, 8, 16, 24]
    assert [line["metadata"]["epoch"] for line in lines] == [0, 1, 1, 3, 4]
    for line in lines:
        assert line["metadata"]["loss"] == losses[line["metadata"]["step"]]
        assert line["metadata"]["lr"] == rates[line["metadata"]["step"]]
        shapes = [layer["shape"] for layer in line["decoder"]]
        assert shapes == [[HEADS, LENGTH, LENGTH]] * 2, "the evaluation has shorter texts"
    folders = {path.parent.name for path in logs.glob("*step_*/decoder_layer1_self_attn.png")}
    assert folders == {"step_1", "epoch_1_step_6", "step_8", "step_16", "step_24"}
    assert summary(logs)["rendered"] == 5
    check_outputs(logs)
    assert not is_watched(watched.model)


def test_the_guides_lines_run(tmp_path: Path) -> None:
    prepared = trainer(tmp_path, max_steps=2)
    given = {
        "model": prepared.model,
        "args": prepared.args,
        "dataset": prepared.train_dataset,
    }
    exec(code_in("Hugging Face Trainer"), given)
    assert steps_in(tmp_path / "attention_logs") == [1]


def test_a_loss_that_was_not_logged_at_the_step_is_the_last_that_was(tmp_path: Path) -> None:
    callback = AttentionCallback(save_frequency=4, **QUICK)
    done = trainer(tmp_path, callback, logging_steps=6, max_steps=12)
    done.train()
    losses = logged(done, "loss")
    lines = [line["metadata"] for line in history(tmp_path / "attention_logs")]
    assert {line["step"]: line["loss"] for line in lines} == {
        1: None, 4: None, 8: losses[6], 11: losses[6], 12: losses[12],
    }  # fmt: skip


def test_a_resumed_training_goes_on_counting(tmp_path: Path) -> None:
    arguments = {"save_strategy": "steps", "save_steps": 6, "max_steps": 6}
    trainer(tmp_path, AttentionCallback(save_frequency=4, **QUICK), **arguments).train()
    resumed = trainer(
        tmp_path, AttentionCallback(save_frequency=4, **QUICK), **arguments | {"max_steps": 9}
    )
    resumed.train(resume_from_checkpoint=True)
    logs = tmp_path / "attention_logs"
    assert steps_in(logs) == [1, 4, 7, 8], "the first one after resuming, and 8"
    last = history(logs)[-1]["metadata"]
    assert last["loss"] == logged(resumed, "loss")[8]
    assert last["epoch"] == 0
    check_outputs(logs)


class Interrupt(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_a_training_that_was_interrupted_can_be_begun_again(tmp_path: Path) -> None:
    callback = AttentionCallback(save_frequency=1, **QUICK)
    broken = trainer(tmp_path, callback, Interrupt(), max_steps=5)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    interrupted = callback.monitor
    broken.remove_callback(Interrupt)
    broken.train()
    assert interrupted is not None
    assert interrupted is not callback.monitor
    assert not interrupted.enabled
    (earlier,) = (tmp_path / "attention_logs").glob("run_*")
    assert steps_in(earlier) == [1, 2]
    assert steps_in(tmp_path / "attention_logs") == [1, 2, 3, 4, 5]


class Doubt(TrainerCallback):
    def __init__(self, watching: AttentionCallback) -> None:
        self.watching = watching

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 7:
            assert self.watching.monitor is not None
            self.watching.monitor.dump("why")


def test_the_last_steps_are_kept_until_they_are_wanted(tmp_path: Path) -> None:
    callback = AttentionCallback(save_frequency=100, save_on_epochs=None, keep_last=3, **QUICK)
    arguments = {"gradient_accumulation_steps": 2, "max_steps": 8}
    trainer(tmp_path, callback, Doubt(callback), **arguments).train()
    logs = tmp_path / "attention_logs"
    assert steps_in(logs) == [1, 4, 5, 6], "step 7 is told when the Trainer has logged its loss"
    assert {line["metadata"].get("kept_for") for line in history(logs)[1:]} == {"why"}
    check_outputs(logs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # from dynamo
def test_a_compiled_model_is_looked_at_with_the_batch_that_one_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compiled = {"torch_compile": True, "torch_compile_backend": "eager", "max_steps": 3}
    off = AttentionCallback(tmp_path / "off")
    alone = trainer(tmp_path, off, **compiled)
    alone.train()
    assert "forward_fn=lambda" in caplog.text
    assert not (tmp_path / "off").exists()
    batch = {"input_ids": torch.tensor([list(TEXT[:LENGTH])])}
    callback = AttentionCallback(
        tmp_path / "on",
        save_frequency=1,
        forward_fn=lambda model, enc, dec: model(**batch),
        **QUICK,
    )
    watched = trainer(tmp_path, callback, **compiled)
    watched.train()
    assert logged(watched, "loss") == logged(alone, "loss")
    assert steps_in(tmp_path / "on") == [1, 2, 3]


def test_mistakes_are_named_before_there_is_a_trainer() -> None:
    with pytest.raises(ValueError, match="Did you mean 'heatmap'"):
        AttentionCallback(visualization_types=["heatmpa"])
    with pytest.raises(TypeError, match="nonsense"):
        AttentionCallback(nonsense=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("module", "extra"),
    [("huggingface", "transformers"), ("lightning", "lightning")],
)
def test_a_framework_that_is_missing_is_named_and_attnmon_needs_none(
    module: str, extra: str
) -> None:
    code = f"""
import sys
import attnmon
from attnmon import TrainingAttentionMonitor
frameworks = {{"transformers", "lightning", "pytorch_lightning", "accelerate"}}
assert not frameworks & sys.modules.keys()
for name in frameworks:
    sys.modules[name] = None
from attnmon.integrations.{module} import AttentionCallback
AttentionCallback()
"""
    ran = run_source(code)
    assert f"pip install 'attnmon[{module}]'" in ran.stderr.splitlines()[-1], ran.stderr


ALARMED: Any = ["logit_high.high=1e-9", "logit_high.very_high=1e-9", "logit_high.patience=1"]
"""What warns at the first capture."""


def test_an_alert_ends_the_training_where_that_is_asked_for(tmp_path: Path) -> None:
    callback = AttentionCallback(stop_on="warn", alerts=ALARMED, **QUICK)
    done = trainer(tmp_path, callback, max_steps=20_000, logging_steps=10_000)
    done.train()
    assert done.state.global_step < 20_000
    assert callback.monitor is not None
    assert {alert.rule for alert in callback.monitor.alerts} == {"logit_high"}
    with pytest.raises(ValueError, match="stop_on: unknown 'fatal'"):
        AttentionCallback(stop_on="fatal")  # type: ignore[arg-type]
