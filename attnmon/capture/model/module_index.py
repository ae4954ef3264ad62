"""A model's modules and their names, read once for as long as they stay the same.

`nn.Module.named_modules` takes half a millisecond for a small transformer. Walking the modules to
see that they are still the same takes a twentieth of that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from attnmon.capture.model.module_names import module_names


@dataclass(frozen=True, slots=True)
class ModuleIndex:
    """A model's modules: their names by id, and their places in `modules_in` by name."""

    ids: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    places: Mapping[str, int] = field(default_factory=dict)

    def of(self, model: nn.Module, modules: Sequence[nn.Module]) -> "ModuleIndex":
        """This again, if these are still its modules; else the model's, read anew."""
        ids = tuple(map(id, modules))
        if ids == self.ids:
            return self
        names = module_names(model)
        return ModuleIndex(ids, names, {names.get(one, ""): place for place, one in enumerate(ids)})


def modules_in(model: nn.Module) -> list[nn.Module]:
    """The model and every module in it, each once."""
    found, seen = [model], {id(model)}
    for module in found:
        for child in module._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


def run_as_written(modules: Sequence[nn.Module]) -> bool:
    """Whether their forwards are plain Python all the way: a compiled one would be traced anew."""
    return not any(
        module._compiled_call_impl is not None or "_orig_mod" in module._modules
        for module in modules
    )


def has_a_fast_path(modules: Sequence[nn.Module]) -> bool:
    """Whether a part of it is in evaluation, and may take a way that torch leaves under the tap.

    A frozen `nn.TransformerEncoder` in a model that trains, say: its last bits would be others.
    """
    return any(not module.training and isinstance(module, _FAST) for module in modules)


_FAST = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
