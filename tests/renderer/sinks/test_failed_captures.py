"""A capture that no worker survives: set aside with its data, and nothing half written stays."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file
from support.outputs import check_outputs, history, summary
from support.training_process import run_training

from attnmon.link.messages import Capture
from attnmon.link.records.attention_record import Attention
from attnmon.link.records.ring_blocks import ArrayBlock, Slots
from attnmon.link.records.run_setup import RenderOptions, Setup
from attnmon.link.records.training_accounts import Accounts
from attnmon_renderer import results
from attnmon_renderer.process_messages import RunStatus, WriteResults
from attnmon_renderer.recorder import Recorder
from attnmon_renderer.results import Results
from attnmon_renderer.sinks.failed_captures import MOST_FAILED_CAPTURES, save_failed_capture
from attnmon_renderer.storage import atomic_files

POISON = """
import os, signal
from attnmon_renderer.storage import atomic_files as files
whole = files.replace
def replace(path, content):
    if path.parent.name == 'step_1' and path.suffix == '.png':
        with files.replacing(path) as file:
            file.write(content[:99])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    whole(path, content)
files.replace = replace
"""


def test_it_is_counted_and_its_data_can_be_sent(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    ran = run_training(
        f"""
        from attnmon.session import renderer_process as launch
        poison = {POISON!r}
        launch._BOOT = launch._BOOT.replace("from attnmon_r", poison + "from attnmon_r", 1)
        model = LanguageModel()
        with TrainingAttentionMonitor(
            {str(folder)!r}, 1, heads_to_visualize="all", save_raw_weights=True, max_overhead=None
        ) as monitor:
            for step in range(3):
                monitor.log_attention(model, batch(), step=step)
        """
    )
    assert ran.returncode == 0
    path = folder / "failed" / "step_1.safetensors"
    assert ran.stderr.count(str(path)) == 1, ran.stderr
    accounts = summary(folder)
    assert (accounts["rendered"], accounts["failed"]) == (2, 1)
    assert "killed by SIGKILL, 2 times" in accounts["errors"][0]
    check_outputs(folder)
    assert not (folder / "step_1").exists(), "nothing of it was whole"
    assert [line["metadata"]["step"] for line in history(folder)] == [0, 2]
    assert_same_attention(path, folder / "step_0" / "attention_weights.safetensors")
    assert path.stat().st_mode & 0o777 == 0o600


def assert_same_attention(aside: Path, weights: Path) -> None:
    """The model and its input are those of the step before, which was drawn."""
    parts, expected = load_file(aside), load_file(weights)
    with safe_open(aside, framework="numpy") as file:
        capture = json.loads(file.metadata()["capture"])
    assert (capture["step"], len(capture["attentions"])) == (1, len(expected))
    for attention in capture["attentions"]:
        name = f"{attention['stack']}_layer{attention['layer']}_self_attn"
        query, key = parts[f"{name}.query"], parts[f"{name}.key"]
        logits = attention["scale"] * query @ key.transpose(0, 2, 1)
        allowed = np.tri(query.shape[1], key.shape[1], dtype=bool)
        numerators = np.where(allowed, np.exp(logits), 0)
        ours = numerators / numerators.sum(-1, keepdims=True)
        np.testing.assert_allclose(ours, expected[name], atol=1e-6)


def capture_of(ring: np.ndarray, step: int) -> Capture:
    blocks = ArrayBlock(0, "bfloat16", (2, 3, 4)), ArrayBlock(48, "float64", (1, 5, 4))
    attention = Attention(
        "a\ud800\0\n../../😀", "decoder", 0, "cross_attention", "test", (0, 3),
        query=blocks[0], key=blocks[1], bias=ArrayBlock(208, "bool", (3, 5)),
    )  # fmt: skip
    return Capture(
        0, step, False, None, None, None, 0.0, 0, (Slots(0, 1),), (attention,), Accounts()
    )


@pytest.fixture
def ring() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 256, np.uint8)


def test_every_type_is_kept_byte_for_byte(ring: np.ndarray, tmp_path: Path) -> None:
    path = save_failed_capture(tmp_path, capture_of(ring, 7), memoryview(ring))
    assert path is not None
    with safe_open(path, framework="pt") as file:
        told = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        shapes = {name: (part.get_dtype(), part.get_shape()) for name, part in told.items()}
        message = json.loads(file.metadata()["capture"])
    stem = "decoder_layer0_cross_attn"
    assert shapes == {
        f"{stem}.query": ("BF16", [2, 3, 4]),
        f"{stem}.key": ("F64", [1, 5, 4]),
        f"{stem}.bias": ("BOOL", [3, 5]),
    }
    assert path.read_bytes().endswith(ring[:223].tobytes())
    assert message["attentions"][0]["name"] == "a\ud800\0\n../../😀"


def test_there_are_never_more_than_a_few(ring: np.ndarray, tmp_path: Path) -> None:
    made = [
        save_failed_capture(tmp_path, capture_of(ring, n), memoryview(ring))
        for n in range(MOST_FAILED_CAPTURES + 3)
    ]
    assert [path is not None for path in made] == [True] * MOST_FAILED_CAPTURES + [False] * 3
    assert len(list((tmp_path / "failed").iterdir())) == MOST_FAILED_CAPTURES


def test_a_disk_budget_counts_what_was_whole_of_it(ring: np.ndarray, tmp_path: Path) -> None:
    """A worker is often killed at the second picture; the first makes room like any other."""
    recorder = Recorder(setup_of(tmp_path, disk_budget=50_000))
    for step in range(3):
        picture = tmp_path / f"step_{step}" / "decoder_layer0_cross_attn.png"
        atomic_files.replace(picture, bytes(20_000))
        status = RunStatus(Accounts(captured=step + 1), 0, step + 1, "running", (), ())
        task = WriteResults(status, step, "killed", save_capture=True)
        assert recorder.save_capture(task, capture_of(ring, step), memoryview(ring)) == ""
    left = [path.parent.name for path in tmp_path.glob("step_*/*.png")]
    assert sorted(left) == ["step_0", "step_2"]  # the first and the latest stay
    disk = summary(tmp_path)["disk"]
    assert disk["pictures_removed"] == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.*")) <= 50_000


def setup_of(save_dir: Path, disk_budget: int) -> Setup:
    options = RenderOptions(("heatmap",), heads="all", tensorboard=False)
    return Setup(str(save_dir), options, 1 << 16, 1 << 16, 1, disk_budget=disk_budget)


def test_what_killed_workers_left_goes_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "epoch_2_step_5"
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    os.waitpid(dead, 0)
    name = "decoder_layer0_cross_attn.png"
    left = f"attnmon-{dead}-0f.tmp"
    remains = [folder / f".{name}.{left}", tmp_path / f".{folder.name}.zip.{left}"]
    others = [folder / f".{name}.attnmon-{os.getpid()}-0f.tmp", folder / f".{name}.{dead}.tmp"]
    folder.mkdir()
    for path in remains + others:
        path.write_text("half")
    atomic_files.remove_orphans_of([dead], tmp_path)
    assert [path for path in remains + others if path.exists()] == others
    for path in others:
        path.unlink()
    remains[0].write_text("half")
    atomic_files.remove_orphans_of([dead], tmp_path)
    assert not folder.exists()


def test_results_can_be_read_again_after_a_recorder_was_killed_with_them() -> None:
    """All copies of a descriptor have one position; the first had read to the end."""
    made = Results("step_0", step=0, timestamp=1.0, scalars={"a": 1.0})
    descriptor = results.write_to_descriptor(made)
    child = os.fork()
    if child == 0:
        results.read_from_descriptor(descriptor)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert results.read_from_descriptor(descriptor) == made
