"""Caches the names of a model's modules for as long as the modules stay the same.

`nn.Module.named_modules` takes half a millisecond for a small transformer. Walking the modules to
see that they are still the same takes a twentieth of that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from attnmon.capture.model.module_names import module_names
from attnmon.capture.model.watched_calls import WatchedCalls


@dataclass(frozen=True, slots=True)
class ModuleIndex:
    """The names of a model's modules, and the modules by name."""

    ids: tuple[int, ...] = ()
    """The `id` of each module, in the order of `modules_in`."""
    names: Mapping[int, str] = field(default_factory=dict)
    """Name by `id`."""
    positions: Mapping[str, int] = field(default_factory=dict)
    """Position in `modules_in` by name."""

    def updated(self, model: nn.Module, modules: Sequence[nn.Module]) -> "ModuleIndex":
        """Returns this index if `modules`, of `modules_in`, are unchanged; else a new one."""
        ids = tuple(map(id, modules))
        if ids == self.ids:
            return self
        names = module_names(model)
        positions = {names.get(key, ""): position for position, key in enumerate(ids)}
        return ModuleIndex(ids, names, positions)


def modules_in(model: nn.Module) -> list[nn.Module]:
    """Returns the model and every module in it, each once."""
    found, seen = [model], {id(model)}
    for module in found:
        if not module._modules:
            continue
        for child in module._modules.values():
            key = id(child)
            if child is not None and key not in seen:
                seen.add(key)
                found.append(child)
    return found


def is_uncompiled(modules: Sequence[nn.Module]) -> bool:
    """Returns whether none of these modules is compiled or holds a compiled one."""
    for module in modules:  # no generator: it would take longer than all else here
        compiled = module._compiled_call_impl
        if compiled is not None and not isinstance(compiled, WatchedCalls):
            return False
        if "_orig_mod" in module._modules:
            return False
    return True


def has_fast_path(modules: Sequence[nn.Module]) -> bool:
    """Returns whether torch may run a module by its fast path, which it does not use under a tap.

    For example a frozen `nn.TransformerEncoder` in a model that trains: under the tap, its results
    would differ in the last bits.
    """
    idle = [module for module in modules if not module.training]
    return any(isinstance(module, _FAST) for module in idle)


_FAST = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
