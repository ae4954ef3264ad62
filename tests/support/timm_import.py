"""Imports timm as the scan of models does: also where torchvision is missing."""

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from support.project import SCRIPTS


def import_timm() -> ModuleType:
    """Returns timm, or skips the test."""
    if find_spec("timm") is None:
        pytest.skip("timm is not installed", allow_module_level=True)
    with pytest.MonkeyPatch.context() as patch:  # a renderer with another path cannot be forked
        patch.setattr(sys, "path", [*sys.path, str(SCRIPTS)])
        stand_in = importlib.import_module("scanlib.libraries.without_torchvision")
    timm: ModuleType = stand_in.imported("timm")
    return timm
