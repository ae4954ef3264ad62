"""Imports timm where torchvision is missing, since not every torch has a build of it.

timm needs torchvision to read and to transform pictures, not for its models.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest


class Anything(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> Any:
        return _named(name)


class Empty(ModuleType):
    """A module that has every attribute."""

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
    """Returns timm, or skips the test. Removes the stand-in for torchvision afterwards."""
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
