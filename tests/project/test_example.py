"""The example trains, is watched, and its attention finds the alignment."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.forked_script import run_file
from support.project import SCRIPTS

from attnmon import TrainingAttentionMonitor

SCRIPT = SCRIPTS / "train_example.py"
STEPS, BATCH = 400, 32
"""As many steps as a minute has, of half the words: the alignment is there as soon."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Uses one thread: two would wait for each other where something else runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_example(save_dir: Path, *arguments: str) -> str:
    """Runs the script as a user does. Returns what it printed."""
    ran = run_file(SCRIPT, "--save-dir", str(save_dir), *arguments, cwd=save_dir.parent)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def share_reversed(weights: np.ndarray, length: int) -> np.ndarray:
    """Counts by head the queries of [heads, queries, keys] that attend most to the mirrored key."""
    mirrored = np.arange(length)[::-1]
    return np.asarray((weights[:, :length, :length].argmax(axis=2) == mirrored).sum(axis=1))


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("one_thread")
def test_reversing_words_turns_cross_attention_into_an_antidiagonal(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at words it was not trained on, in the raw weights that the renderer wrote."""
    monkeypatch.setattr(example, "BATCH", BATCH)
    monitor = TrainingAttentionMonitor(
        save_dir=tmp_path,
        save_frequency=STEPS,
        save_on_epochs=None,
        visualization_types=["statistics"],
        layers_to_visualize=[-1],
        heads_to_visualize="all",
        save_raw_weights=True,
        use_tensorboard=False,
        on_full="wait",
        max_overhead=None,
    )
    model = example.train("reverse", monitor, seconds=0, steps=STEPS)
    words = example.text_pairs("reverse")[:40]
    for count, word in enumerate(words, start=1):
        read, written, _ = example.as_batch([word])
        monitor.log_attention(model, read, written, step=count * STEPS)
    assert monitor.close()["rendered"] == 1 + len(words)

    mirrored = np.zeros(4)
    for count, (word, _) in enumerate(words, start=1):
        raw = load_file(tmp_path / f"step_{count * STEPS}" / "attention_weights.safetensors")
        mirrored += share_reversed(raw["decoder_layer1_cross_attn"], len(word))
    best = mirrored.max() / sum(len(word) for word, _ in words)
    assert best > 0.9


def test_full_draws_every_kind_of_picture_of_every_layer(tmp_path: Path) -> None:
    printed = run_example(tmp_path / "logs", "--mode", "full", "--steps", "2")
    pictures = {path.name for path in (tmp_path / "logs" / "epoch_1_step_0").glob("*.png")}
    kinds = ["encoder_layer{}_self_attn", "decoder_layer{}_self_attn", "decoder_layer{}_cross_attn"]
    maps = {kind.format(layer) for kind in kinds for layer in (0, 1)}
    compared = ["encoder_layer", "decoder_self_layer", "decoder_cross_layer"]
    assert pictures == {
        *(f"{name}.png" for name in maps),
        *(f"{name}_heads.png" for name in maps),
        *(f"{name}_comparison.png" for name in compared),
    }
    assert "captured      1\n    rendered      1\n    dropped       0" in printed
    assert f"tensorboard --logdir {tmp_path / 'logs' / 'tensorboard'}" in printed
    assert f"attnmon view {tmp_path / 'logs'}" in printed


def test_lightweight_draws_nothing(tmp_path: Path) -> None:
    run_example(tmp_path / "logs", "--mode", "lightweight", "--steps", "12")
    assert len((tmp_path / "logs" / "history.jsonl").read_text().splitlines()) == 2
    assert not list((tmp_path / "logs").rglob("*.png"))


def test_custom_follows_its_settings(tmp_path: Path) -> None:
    run_example(tmp_path / "logs", "--mode", "custom", "--task", "reverse", "--steps", "45")
    folders = {path.name for path in (tmp_path / "logs").iterdir() if path.is_dir()}
    assert folders == {"epoch_1_step_0", "epoch_2_step_43"}
    assert (tmp_path / "logs" / "epoch_2_step_43" / "attention_weights.safetensors").is_file()


def test_the_tasks_are_what_the_text_says(example: ModuleType) -> None:
    for read, written in example.text_pairs("restore"):
        assert read == written.replace(" ", "").lower()
    for read, written in example.text_pairs("reverse"):
        assert read == written[::-1]


def test_every_run_sees_the_same_batches(example: ModuleType) -> None:
    first, second = (example.batches(example.text_pairs("reverse")) for _ in range(2))
    assert [next(first) for _ in range(100)] == [next(second) for _ in range(100)]


def test_what_is_written_so_far_is_the_target_one_character_late(example: ModuleType) -> None:
    read, written, target = example.as_batch([("abc", "A bc"), ("d", "D")])
    assert read.shape == (2, 3)
    assert torch.equal(written[:, 1:], target[:, :-1])
    assert (written[:, 0] == example.START).all()
    assert [example.decode(row.tolist()) for row in target] == ["A bc", "D"]
