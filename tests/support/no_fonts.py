"""A machine without fonts, but for matplotlib's own, and with one way to install some."""

import shutil

import pytest

from attnmon_renderer.drawing.text import font_choice, font_files


def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(font_files, "font_folders", lambda: iter(()))
    monkeypatch.setattr(font_choice, "_installed", font_choice._Installed())


def only(monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    """Have the machine offer these commands and no others."""
    monkeypatch.setattr(shutil, "which", lambda name: name if name in commands else None)
