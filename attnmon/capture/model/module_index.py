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
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


def is_uncompiled(modules: Sequence[nn.Module]) -> bool:
    """Returns whether none of these modules is compiled or holds a compiled one."""
    return not any(
        "_orig_mod" in module._modules
        or not isinstance(module._compiled_call_impl, (type(None), WatchedCalls))
        for module in modules
    )


def has_fast_path(modules: Sequence[nn.Module]) -> bool:
    """Returns whether torch may run a module by its fast path, which it does not use under a tap.

    For example a frozen `nn.TransformerEncoder` in a model that trains: under the tap, its results
    would differ in the last bits.
    """
    return any(not module.training and isinstance(module, _FAST) for module in modules)


_FAST = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
