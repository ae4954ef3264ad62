"""The order of a model's modules, and which of them are alike."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import nn

from attnmon.capture import module_names, unwrap

_NUMBER = re.compile(r"\d+")


def pattern_of(name: str) -> str:
    """Return a module's name with a star for each number: layers that repeat have one pattern."""
    return _NUMBER.sub("*", name)


@dataclass(frozen=True, slots=True)
class ModuleOrder:
    """The names of a model's modules in the order in which the model holds them."""

    kinds: dict[str, type] = field(default_factory=dict)
    """Class of each module by name, in order."""

    @classmethod
    def of(cls, model: nn.Module) -> "ModuleOrder":
        """Return the order of this model's modules."""
        modules = {id(module): module for module in unwrap(model).modules()}
        names = module_names(model)
        return cls({names[key]: type(module) for key, module in modules.items() if key in names})

    def with_siblings(self, names: Iterable[str]) -> list[str]:
        """Return these modules and those like them, in order; those that are not held come last.

        Alike are modules of one class whose names differ in numbers alone.
        """
        asked = dict.fromkeys(names)
        alike = {(pattern_of(name), self.kinds[name]) for name in asked if name in self.kinds}
        held = [name for name, kind in self.kinds.items() if (pattern_of(name), kind) in alike]
        return held + [name for name in asked if name not in self.kinds]
