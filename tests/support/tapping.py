"""What a tap reports of a forward, kept for a test to look at."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from attnmon.capture import AttentionCall, CallListener, Tap, discover, module_names, probe
from attnmon.capture.calls.verification import attention_weights


class TapLog(CallListener):
    """Keeps all that a tap reports. An error of attnmon's own ends the forward, and the test."""

    def __init__(self) -> None:
        self.calls: list[AttentionCall] = []
        self.unsupported: list[tuple[str, str]] = []
        """(module, reason) of each."""
        self.refused: list[tuple[str, int | None]] = []
        """(module, call index) of each."""
        super().__init__(self.calls.append)

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason in self.unsupported]

    def on_unsupported(self, module: str, reason: str, call_index: int | None = None) -> None:
        self.unsupported.append((module, reason))
        self.refused.append((module, call_index))

    def on_error(self, error: Exception) -> None:
        raise error


def is_watched(model: nn.Module) -> bool:
    """Whether anything is on the model, or on a module in it, that runs when it is called."""
    return any(
        "_compiled_call_impl" in vars(module) or module._forward_hooks or module._forward_pre_hooks
        for module in model.modules()
    )


def tapped(model: nn.Module, forward: Callable[[], object]) -> TapLog:
    """All that a tap reports of this forward."""
    log = TapLog()
    with Tap(module_names(model), log):
        forward()
    return log


def tapped_calls(model: nn.Module, forward: Callable[[], object]) -> list[AttentionCall]:
    """The attention calls that a tap reports of this forward."""
    return tapped(model, forward).calls


def probed_calls(model: nn.Module, enc: Any, dec: Any, **options: Any) -> list[AttentionCall]:
    """The attention calls that a probe of this model reports; finds the batch if need be."""
    log = TapLog()
    if "batch_dim" not in options:
        found = discover(model, enc, dec, forward_fn=options.get("forward_fn"))
        options["batch_dim"] = found.batch_dim
    probe(model, enc, dec, log, **options)
    return log.calls


def exact_weights(call: AttentionCall) -> Tensor:
    """The weights of a call, in float64."""
    return attention_weights(call, dtype=torch.float64)
