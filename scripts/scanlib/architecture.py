"""An architecture to be tried: how it is built, tiny and random, and what it is given."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

SAMPLES = 3
SAMPLE = 1
"""The sample whose attention is looked at: neither the first nor the last."""
RING = "16 MB"
"""Memory of a monitor's ring: enough for what is tiny, and a quarter of the usual."""
GAIN = 1.5
"""Of the random weights: with the usual small ones every map is nearly uniform, and so alike."""
MOST_PARAMETERS = 30_000_000
TOO_LARGE = "it is too large to be tried"
MOST_SECONDS = 1.0
"""Processor time of one forward: a trial makes some thirty, half of them with a backward."""


class CannotBuild(Exception):
    """The architecture could not be built or called here; the message says why."""


def reason_of(failures: Sequence[str]) -> str:
    """Returns why none of several tries to build it came to anything: its size, or the first."""
    large = [failure for failure in failures if TOO_LARGE in failure]
    return [*large, *failures, "there is nothing to build"][0]


@dataclass(frozen=True)
class Built:
    """A model in evaluation, and its inputs."""

    model: nn.Module
    inputs: Any
    """A tensor, a tuple of positional arguments, or a dict of keyword arguments."""
    alone: Callable[[int], Any]
    """Returns the inputs of one sample by itself."""


@dataclass(frozen=True)
class Architecture:
    """A name as "library/family", and what builds it; `build` raises where it cannot."""

    name: str
    build: Callable[[], Built]

    @property
    def library(self) -> str:
        return self.name.partition("/")[0]


def call(model: nn.Module, inputs: Any) -> Any:
    """Calls the model as its user would."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def one_sample(inputs: Any, sample: int) -> Any:
    """Returns the inputs of one sample: each tensor with a batch, cut along its first dimension."""
    if isinstance(inputs, Tensor):
        return inputs[sample : sample + 1] if inputs.dim() and len(inputs) == SAMPLES else inputs
    if isinstance(inputs, Mapping):
        return {name: one_sample(value, sample) for name, value in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(one_sample(value, sample) for value in inputs)
    if isinstance(inputs, list) and len(inputs) == SAMPLES:
        return inputs[sample : sample + 1]
    return inputs


def float_tensors(output: Any) -> Iterator[Tensor]:
    """Yields the tensors of floating point in a model's output, in order, each once."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from float_tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from float_tensors(value)
    elif hasattr(output, "__dict__") and not isinstance(output, (type, nn.Module)):
        yield from float_tensors(vars(output))


def randomize(model: nn.Module) -> None:
    """Draws each matrix of the model anew, so that its maps differ between samples and heads."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1 and parameter.is_floating_point():
                deviation = GAIN / math.sqrt(max(1, parameter[0].numel()))
                parameter.normal_(0, deviation, generator=generator)


def is_finite(output: Any) -> bool:
    """Whether there are numbers in the output, and none of them is NaN."""
    tensors = list(float_tensors(output))
    return bool(tensors) and not any(tensor.isnan().any() for tensor in tensors)


def prepared(model: nn.Module, inputs: Any, alone: Callable[[int], Any] | None = None) -> Built:
    """Returns the model with random weights, in evaluation, once it has been called.

    Keeps its usual weights where the output would not be finite with others. Raises what the
    model's forward raises, and `CannotBuild` if it returns no finite numbers, or takes too long.
    """
    model.eval()
    with torch.no_grad():
        if not is_finite(call(model, inputs)):
            raise CannotBuild("its output has no finite numbers")
        usual = {name: value.clone() for name, value in model.state_dict().items()}
        randomize(model)
        started = time.process_time()
        finite = is_finite(call(model, inputs))
        if (seconds := time.process_time() - started) > MOST_SECONDS:
            raise CannotBuild(f"one forward takes {seconds:.1f} s: {TOO_LARGE}")
        if not finite:
            model.load_state_dict(usual)
    return Built(model, inputs, alone or partial(one_sample, inputs))
