"""timm, also where torchvision is not: there is no build of it for every torch.

timm needs it to read and to transform pictures, which its models do not.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


class Anything(type):
    """A class that has whatever attribute it is asked for."""

    def __getattr__(cls, name: str) -> Any:
        return _named(name)


class Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return _named(name)


def _named(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return Anything(name, (), {})


class Stand(MetaPathFinder, Loader):
    """Finds an empty module for each of torchvision's names."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        ours = name.partition(".")[0] == "torchvision"
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def import_timm() -> ModuleType:
    """timm; skips the test without it. What stood in for torchvision is gone afterwards."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: of a build for another torch
        stand = Stand()
        sys.meta_path.insert(0, stand)
        try:
            return _import()
        finally:
            sys.meta_path.remove(stand)
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
    return _import()


def _import() -> ModuleType:
    module: ModuleType = pytest.importorskip("timm")
    return module
