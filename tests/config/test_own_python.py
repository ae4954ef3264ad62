"""What is no Python is not started again: it would run the user's program."""

import sys

import pytest

from attnmon.config.own_python import is_own_python


def test_only_a_python_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_own_python()
    for executable in ("", "/opt/game/game"):
        monkeypatch.setattr(sys, "executable", executable)
        assert not is_own_python()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not is_own_python()
