"""The same training twice, without a monitor and with one, compared bit by bit."""

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from attnmon import TrainingAttentionMonitor
from scanlib.architecture import RING, SAMPLE, call, float_tensors

STEPS = 3


def differences(
    model: nn.Module, inputs: Any, alone: dict[str, Any], folder: Path, renderer: Path
) -> list[str]:
    """Returns the names of what a monitor changes in this training; empty if nothing.

    alone: what the training leaves without a monitor. Raises `Undecided` if that is not the same
    twice by itself.
    """
    monitor = TrainingAttentionMonitor(
        folder, 1, visualization_types=["statistics"], layers_to_visualize="all",
        batch_idx_to_visualize=SAMPLE, max_workers=1, use_tensorboard=False, max_overhead=None,
        renderer=str(renderer), close_timeout=10.0, ring_bytes=RING,
    )  # fmt: skip
    try:
        watched = trained(copy.deepcopy(model), inputs, monitor)
    except Exception as error:
        return [f"raised {type(error).__name__}: {error}"[:200]]
    finally:
        monitor.close(timeout=0)
    changed = compared(alone, watched)
    if changed and compared(alone, trained(copy.deepcopy(model), inputs, None)):
        raise Undecided("it is not the same twice by itself")
    return changed


class Undecided(Exception):
    """The training cannot be compared; the message says why."""


def trained(
    model: nn.Module, inputs: Any, monitor: TrainingAttentionMonitor | None
) -> dict[str, Any]:
    """Trains for some steps. Returns all that this leaves, by name."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    model.train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-3)
    left: dict[str, Any] = {}
    for step in range(STEPS):
        outputs = [each for each in float_tensors(call(model, inputs)) if each.requires_grad]
        if not outputs:
            raise Undecided("no output has a gradient")
        loss = torch.stack([each.float().square().mean() for each in outputs]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if monitor is not None:
            monitor.log_attention(model, inputs, step=step, loss=loss.detach())
        left[f"loss of step {step}"] = loss.detach()
    return left | state(model)


def state(model: nn.Module) -> dict[str, Any]:
    """Returns the parameters, buffers and flags of a model, and every random state."""
    return {
        **dict(model.named_parameters()),
        **dict(model.named_buffers()),
        "training flags": [module.training for module in model.modules()],
        "torch's random state": torch.get_rng_state(),
        "Python's random state": random.getstate(),
        "NumPy's random state": np.random.get_state()[1].tolist(),  # type: ignore[index]
    }


def compared(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Returns the names whose values differ in any bit; NaN is equal to itself."""
    names = [*one, *(name for name in other if name not in one)]
    return [name for name in names if not _same(one.get(name), other.get(name))]


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return bool(one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(torch.nan_to_num(one.detach()), torch.nan_to_num(other.detach())) and (
        torch.equal(one.isnan(), other.isnan()) if one.is_floating_point() else True
    )
