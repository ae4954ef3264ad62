"""A vision model in training: its attention over the very image that it saw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from support.vision import TinyVision, images
from torch import Tensor, nn

from attnmon import TrainingAttentionMonitor
from attnmon_renderer.commands import main

KINDS = ("image_overlay", "rollout_overlay")
SAMPLE = 1
WEIGHTS = "attention_weights.safetensors"


def batches() -> list[Tensor]:
    return [images(3, 32, 48) + step for step in range(3)]


def monitor(folder: Path, **options: Any) -> TrainingAttentionMonitor:
    return TrainingAttentionMonitor(
        folder,
        save_frequency=1,
        visualization_types=KINDS,
        layers_to_visualize="all",
        batch_idx_to_visualize=SAMPLE,
        save_raw_weights=True,
        max_overhead=None,
        on_full="wait",
        **options,
    )


def train(model: nn.Module, log: Callable[[Tensor, int], None]) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step, batch in enumerate(batches()):
        model(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        log(batch, step)


def stretched(image: Tensor) -> np.ndarray:
    one = image.double().permute(1, 2, 0).numpy()
    return np.asarray(np.rint(255 * (one - one.min()) / (one.max() - one.min())))


def stored_image(folder: Path, step: int) -> np.ndarray:
    return np.asarray(load_file(folder / f"step_{step}" / WEIGHTS)["image"]).astype(float)


def test_each_capture_shows_the_sample_that_its_forward_saw(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, alone = TinyVision(), TinyVision()
    alone.load_state_dict(model.state_dict())
    with monitor(tmp_path / "run") as watching:
        train(model, lambda batch, step: watching.log_attention(model, batch, step=step))
    assert watching.close()["warnings"] == []
    for step, batch in enumerate(batches()):
        assert np.abs(stored_image(tmp_path / "run", step) - stretched(batch[SAMPLE])).max() <= 1
        assert {path.name for path in (tmp_path / "run" / f"step_{step}").glob("*.png")} == {
            "encoder_layer0_self_attn_overlay.png",
            "encoder_layer1_self_attn_overlay.png",
            "encoder_rollout_overlay.png",
        }
    train(alone, lambda batch, step: None)
    for watched, free in zip(model.parameters(), alone.parameters(), strict=True):
        assert torch.equal(watched, free)
    assert_drawn_again(tmp_path / "run", tmp_path / "again")


def assert_drawn_again(run: Path, out: Path) -> None:
    kinds = ["--kinds", *KINDS]
    assert main(["render", str(run), "--out", str(out), "--jobs", "1", *kinds]) == 0
    live = sorted(run.glob("step_*/*.png"))
    assert len(live) == 9
    for picture in live:
        assert (out / picture.relative_to(run)).read_bytes() == picture.read_bytes()


def test_a_trainer_that_hides_its_batch_shows_what_the_forward_saw(tmp_path: Path) -> None:
    model = TinyVision()
    with monitor(tmp_path) as watching:
        watching.attach(model)
        train(model, lambda batch, step: watching.log_attention(model, step=step))
    for step, batch in enumerate(batches()):
        assert np.abs(stored_image(tmp_path, step) - stretched(batch[SAMPLE])).max() <= 1


def test_an_image_of_another_batch_than_the_forward_s_is_not_shown(tmp_path: Path) -> None:
    """A loop that fetches the next batch first, of a model that is looked at in its own forward."""
    model, later = TinyVision(), images(3, 32, 48).neg()
    with monitor(tmp_path, capture="forward") as watching:
        watching.attach(model)
        train(model, lambda b, step: watching.log_attention(model, later, step=step, image=later))
    assert np.abs(stored_image(tmp_path, 0) - stretched(batches()[0][SAMPLE])).max() <= 1


def test_an_image_of_one_s_own_takes_the_place_of_that_among_the_inputs(tmp_path: Path) -> None:
    model = TinyVision()
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    with monitor(tmp_path) as watching:
        train(
            model,
            lambda batch, step: watching.log_attention(
                model, batch, step=step, image=lambda: photo
            ),
        )
    assert np.array_equal(stored_image(tmp_path, 2), photo)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (np.zeros((64, 64, 3), np.uint8), "it has 64 × 64 pixels, and what the model saw 32 × 48"),
        (np.zeros((5,)), "[5] is none. Give [samples, channels, rows, columns]"),
        (torch.zeros(1, 3, 32, 48), "a batch of 1 has no sample 1"),
    ],
)
def test_an_image_that_cannot_be_costs_a_warning_and_no_capture(
    given: Any, why: str, tmp_path: Path
) -> None:
    model = TinyVision()
    with monitor(tmp_path) as watching:
        train(model, lambda b, step: watching.log_attention(model, b, step=step, image=given))
    assert_said_once(watching, why)


def test_a_model_without_an_image_is_told_how_to_give_one(tmp_path: Path) -> None:
    model = TinyVision()
    text = nn.Sequential(nn.Flatten(), nn.Unflatten(1, (24, 192)), nn.Linear(192, 16))
    text.append(model.blocks[0])
    with monitor(tmp_path) as watching:
        for step, batch in enumerate(batches()):
            text(batch.flatten(1)).mean().backward()
            watching.log_attention(text, batch.flatten(1), step=step)
    assert_said_once(watching, "log_attention(..., image=...)")


def assert_said_once(monitor: TrainingAttentionMonitor, why: str) -> None:
    accounts = monitor.close()
    assert (accounts["captured"], accounts["rendered"], accounts["failed"]) == (3, 3, 0)
    (said,) = accounts["warnings"]
    assert said.startswith("no attention is laid over the image: ")
    assert why in said
