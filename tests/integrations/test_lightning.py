"""Real trainings by Lightning's Trainer, of both import trees, with the callback and without."""

import copy
import csv
import importlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from support.forked_script import run_source
from support.guide import code_in
from support.lightning_trainer import (
    HEADS,
    LENGTH,
    fit,
    module_of,
    texts,
)
from support.models import CausalAttention
from support.outputs import check_outputs, history, summary
from support.tapping import is_watched
from torch import Tensor

from attnmon.integrations.lightning import AttentionCallback

TREES = ("lightning.pytorch", "pytorch_lightning")
QUICK: Any = {"visualization_types": ["statistics"], "use_tensorboard": False}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
]


@pytest.fixture
def tree() -> Any:
    return pytest.importorskip(TREES[0])


def steps_in(folder: Path) -> list[int]:
    return [line["metadata"]["step"] for line in history(folder)]


@pytest.mark.parametrize(("name", "parts"), [(TREES[0], 1), (TREES[1], 2)])
def test_a_training_is_watched_and_is_bitwise_the_same(
    name: str, parts: int, tmp_path: Path
) -> None:
    """With a sanity check before, validations between, and gradients accumulated."""
    tree = pytest.importorskip(name)
    csv_logger = importlib.import_module(f"{tree.__name__}.loggers").CSVLogger
    options = {"accumulate_grad_batches": parts, "val_check_interval": 4}
    alone = fit(tree, tmp_path, **options)
    state_alone = torch.get_rng_state()
    callback = AttentionCallback(save_frequency=6, layers_to_visualize="all")
    watched = fit(tree, tmp_path, callback, logger=csv_logger(tmp_path, "run"), **options)
    assert torch.equal(torch.get_rng_state(), state_alone)
    assert watched.losses == alone.losses
    pairs = zip(watched.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)

    logs = tmp_path / "run" / "version_0" / "attention_logs"
    with open(logs.parent / "metrics.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["loss"]]
    losses = {int(row["step"]): float(row["loss"]) for row in rows}
    metadata = [line["metadata"] for line in history(logs)]
    of_an_epoch = 10 // parts
    steps = sorted({*range(0, 3 * of_an_epoch, 6), of_an_epoch})
    assert [line["step"] for line in metadata] == steps
    assert [line["epoch"] for line in metadata] == [step // of_an_epoch for step in steps]
    assert [line["loss"] for line in metadata] == [losses[step] for step in steps]
    assert [line["lr"] for line in metadata] == [1e-3 / 2 ** (s // of_an_epoch) for s in steps]
    for line in history(logs):
        assert [layer["name"] for layer in line["decoder"]] == [
            "decoder.blocks.0", "decoder.blocks.1",
        ]  # fmt: skip
        shapes = {tuple(layer["shape"]) for layer in line["decoder"]}
        assert shapes == {(HEADS, LENGTH, LENGTH)}, "the validation has shorter texts"
    assert (logs / f"epoch_1_step_{of_an_epoch}" / "decoder_layer1_self_attn.png").is_file()
    check_outputs(logs)
    assert torch.overrides._len_torch_function_stack() == 0
    assert not is_watched(watched)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's advice on these few lines
def test_the_guides_lines_run(tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(code_in("Lightning"), {"module": module_of(tree), "loader": texts(8, LENGTH)})
    [logs] = tmp_path.rglob("attention_logs")
    assert steps_in(logs) == [0]


def test_a_module_that_optimizes_by_itself_is_watched(tree: Any, tmp_path: Path) -> None:
    alone = fit(tree, tmp_path, module=module_of(tree, automatic=False))
    callback = AttentionCallback(save_frequency=10, **QUICK)
    watched = fit(tree, tmp_path, callback, module=module_of(tree, automatic=False))
    assert watched.losses == alone.losses
    logs = tmp_path / "attention_logs"
    assert steps_in(logs) == [0, 10, 20]
    losses = [line["metadata"]["loss"] for line in history(logs)]
    assert losses == [watched.losses[step] for step in (0, 10, 20)]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty")
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch")
def test_a_resumed_training_goes_on_counting(tree: Any, tmp_path: Path) -> None:
    checkpoint = importlib.import_module(f"{tree.__name__}.callbacks").ModelCheckpoint
    for last_step, path in ((7, None), (13, tmp_path / "at_7.ckpt")):
        saving = checkpoint(
            tmp_path, "at_{step}", every_n_train_steps=7, auto_insert_metric_name=False
        )
        callback = AttentionCallback(save_frequency=4, save_on_epochs=None, **QUICK)
        fit(
            tree, tmp_path, callback, saving,
            enable_checkpointing=True, max_steps=last_step, ckpt_path=path,
        )  # fmt: skip
    assert steps_in(tmp_path / "attention_logs") == [0, 4, 7, 8, 12], "7: the first one again"


def test_an_error_in_the_training_leaves_nothing_behind(tree: Any, tmp_path: Path) -> None:
    class Broken(CausalAttention):
        def forward(self, hidden: Tensor) -> Tensor:
            raise ZeroDivisionError

    module = module_of(tree)
    module.decoder.blocks[1] = Broken(HEADS, 32)
    callback = AttentionCallback()
    with pytest.raises(ZeroDivisionError):
        fit(tree, tmp_path, callback, module=module, num_sanity_val_steps=0)
    assert torch.overrides._len_torch_function_stack() == 0
    assert not is_watched(module)
    assert summary(tmp_path / "attention_logs")["state"] == "closed"


def test_the_steps_before_an_error_are_drawn(tree: Any, tmp_path: Path) -> None:
    module = module_of(tree)

    class Breaks(tree.Callback):  # type: ignore[misc]
        def on_before_optimizer_step(self, trainer: Any, *given: Any) -> None:
            if trainer.global_step == 6:
                raise ZeroDivisionError("of a gradient")

    callback = AttentionCallback(save_frequency=100, keep_last=3, **QUICK)
    with pytest.raises(ZeroDivisionError):
        fit(tree, tmp_path, callback, Breaks(), module=module)
    logs = tmp_path / "attention_logs"
    assert steps_in(logs) == [0, 3, 4, 5]
    reasons = {line["metadata"].get("kept_for") for line in history(logs)[1:]}
    assert reasons == {"ZeroDivisionError: of a gradient"}
    assert not is_watched(module)
    check_outputs(logs)


def test_an_error_among_the_alerts_ends_the_training_where_that_is_asked_for(
    tree: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    growth = ("top=1e-9", "factor=1e-9", "worst=0", "patience=1")  # as soon as there are captures
    alerts = [f"logit_growth.{setting}" for setting in growth]
    callback = AttentionCallback(stop_on="error", alerts=alerts, save_frequency=1, **QUICK)
    module = fit(tree, tmp_path, callback, max_epochs=5000)
    assert 6 < len(module.losses) < 50_000
    assert callback.monitor is not None
    (alert, *_) = callback.monitor.alerts
    assert (alert.rule, alert.severity) == ("logit_growth", "error")
    said = f"alert logit_growth at step {alert.step}: stop_on ends the training after this step"
    assert [text for text in caplog.messages if said in text] == [f"attnmon: {said}"]
    assert summary(tmp_path / "attention_logs")["state"] == "closed"


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # from dynamo
def test_a_compiled_module_is_looked_at_beside_its_training(tree: Any, tmp_path: Path) -> None:
    def compiled() -> Any:
        return torch.compile(module_of(tree), backend="eager")

    alone = fit(tree, tmp_path, module=compiled(), max_steps=6)
    callback = AttentionCallback(save_frequency=2, **QUICK)
    watched = fit(tree, tmp_path, callback, module=compiled(), max_steps=6)
    assert watched.losses == alone.losses
    assert steps_in(tmp_path / "attention_logs") == [0, 2, 4]


def test_a_copy_has_the_settings_and_no_monitor(tree: Any, tmp_path: Path) -> None:
    """As it is sent to processes that are spawned."""
    callback = AttentionCallback(tmp_path / "logs", save_frequency=2, **QUICK)
    fit(tree, tmp_path, callback, max_steps=3)
    assert callback.monitor is not None
    others = [copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))]
    for other in others:
        assert isinstance(other, AttentionCallback)
        assert isinstance(other, tree.Callback)
        assert other.monitor is None
    fit(tree, tmp_path, others[1], max_steps=3)
    (earlier,) = (tmp_path / "logs").glob("run_*")
    assert steps_in(tmp_path / "logs") == steps_in(earlier) == [0, 2]


@pytest.mark.usefixtures("tree")
def test_mistakes_are_named_before_there_is_a_trainer() -> None:
    with pytest.raises(ValueError, match="Did you mean 'heatmap'"):
        AttentionCallback(visualization_types=["heatmpa"])


@pytest.mark.parametrize("name", TREES)
def test_it_is_a_callback_of_the_tree_that_the_trainer_is_from(name: str) -> None:
    """Where the other tree is not loaded; also without a list around it."""
    pytest.importorskip(name)
    code = f"""
import sys, warnings
warnings.simplefilter("ignore")
from attnmon.integrations.lightning import AttentionCallback
import {name} as tree
callback = AttentionCallback()
trainer = tree.Trainer(callbacks=callback, logger=False, accelerator="cpu")
assert callback in trainer.callbacks
assert isinstance(callback, tree.Callback) and isinstance(callback, AttentionCallback)
assert callback.state_key == "AttentionCallback", "as in checkpoints that were saved before"
assert type("Own", (AttentionCallback,), {{}})().state_key == "Own"
assert len({set(TREES)!r} & sys.modules.keys()) == 1
"""
    ran = run_source(code)
    assert ran.returncode == 0, ran.stderr
