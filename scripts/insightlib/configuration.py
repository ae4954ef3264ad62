"""One training of the suite: the task, the model, and what is wrong with it."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from insightlib.models import Shape

SEEDS = (0, 1, 2)
STEPS = 400
EVERY = 3
"""Steps from one capture to the next."""

Fault = Literal["", "mask", "attention"]


PLAIN = Shape()


@dataclass(frozen=True)
class Configuration:
    """One training, but for its seed."""

    name: str
    task: str
    shape: Shape = PLAIN
    lr: float = 1e-3
    warmup: int = 40
    decays: bool = True
    clip: float = 1.0
    batch: int = 16
    steps: int = STEPS
    qk_lr: float = 1.0
    """Factor of the learning rate of Q and K."""
    ramp: float = 1.0
    """Factor of the learning rate at each step from `fault_at` on."""
    qk_ramp: float = 1.0
    jump: float = 1.0
    """Factor of the learning rate from `fault_at` on."""
    fault_at: int = 130
    frozen_qk: bool = False
    changes_at: int = 0
    """The step at which the data change; 0 for never."""
    resumes_at: int = 0
    """The step at which the training ends and goes on in the same directory."""
    length: int = 0
    """Of sequences; 0 is the task's own."""
    fault: Fault = ""
    twin: str = ""


def shape_of(of: Configuration, **changes: Any) -> Shape:
    """Return the shape of its model with changes."""
    return replace(of.shape, **changes)


def sick(of: Configuration, name: str, fault: Fault = "attention", **changes: Any) -> Configuration:
    """Return a training that is wrong, whose healthy twin `of` is."""
    return replace(of, name=f"{of.name}_{name}", twin=of.name, fault=fault, **changes)


def healthy(of: Configuration, name: str, **changes: Any) -> Configuration:
    """Return another healthy training, which is compared with `of`."""
    return replace(of, name=f"{of.name}_{name}", twin=of.name, **changes)


WILD: dict[str, Any] = {"warmup": 0, "clip": 0.0, "decays": False}
"""What goes with a learning rate that is too high."""
