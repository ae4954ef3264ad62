"""Names of modules, and the module that is making a call."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import nn

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Prefixes that torch.compile, FSDP and activation checkpointing add to names."""

_REPLICATORS = ("DistributedDataParallel", "DataParallel")
_HEADS = (
    "num_heads", "n_heads", "nheads", "nhead", "n_head", "num_attention_heads", "heads", "h",
)  # fmt: skip


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the user's module inside DistributedDataParallel, DataParallel and torch.compile.

    Its forward does not communicate with other processes. FSDP's wrapper stays, because its forward
    gathers the weights.
    """
    while True:
        modules: Any = model._modules
        if any(base.__name__ in _REPLICATORS for base in type(model).__mro__):
            inner = getattr(model, "module", None)
        elif type(modules) is dict:
            inner = modules.get("_orig_mod")
        else:
            inner = dict(modules.items()).get("_orig_mod")  # TorchScript's has no `get`
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def module_names(model: nn.Module) -> dict[int, str]:
    """Returns each module's name by its id, without the prefixes of wrappers; the root's is ""."""
    root = unwrap(model)
    names = {id(module): _stripped(name) for name, module in root.named_modules()}
    names.setdefault(id(model), "")
    return names


def calling_module(names: Mapping[int, str]) -> nn.Module | None:
    """Returns the innermost module in `names` whose method, or helper function, is running.

    Looks on the stack, at the first argument of each function and at its variables `self` and
    `module`. This needs no hook on the model, and an exception cannot bring it out of step.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        for local in _candidates(frame):
            # f_locals builds a dictionary of the whole frame: asked only where the name exists.
            found = frame.f_locals.get(local)
            if isinstance(found, nn.Module) and id(found) in names:
                return found
        frame = frame.f_back
    return None


def heads_of(module: nn.Module | None) -> int | None:
    """Returns the module's number of heads, from an attribute of a usual name; None without one."""
    for attribute in _HEADS:
        heads = getattr(module, attribute, None)
        if isinstance(heads, int) and not isinstance(heads, bool) and heads > 0:
            return heads
    return None


def _candidates(frame: FrameType) -> list[str]:
    code = frame.f_code
    first = code.co_varnames[:1] if code.co_argcount else ()
    visible = code.co_varnames + code.co_freevars
    return [*first, *(name for name in ("self", "module") if name in visible)]


def _stripped(name: str) -> str:
    padded = name + "."
    for prefix in _WRAPPERS:
        padded = padded.replace(prefix, "")
    return padded[:-1]
