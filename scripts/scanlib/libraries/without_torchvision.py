"""Imports libraries that want torchvision, of which not every torch has a build.

They need it to read and to transform pictures, not for their models.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Anything(type):
    def __getattr__(cls, name: str) -> Any:
        return _named(name)


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return _named(name)


def _named(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Anything(name, (), {})


class _Stand(MetaPathFinder, Loader):
    """Finds an empty module for each of torchvision's names."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        ours = name.partition(".")[0] == "torchvision"
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def imported(name: str) -> Any:
    """Returns the module; torchvision's place is empty again afterwards."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):  # RuntimeError: of a build for another torch
        stand = _Stand()
        sys.meta_path.insert(0, stand)
        try:
            return importlib.import_module(name)
        finally:
            sys.meta_path.remove(stand)
            for each in [each for each in sys.modules if each.partition(".")[0] == "torchvision"]:
                del sys.modules[each]
    return importlib.import_module(name)
