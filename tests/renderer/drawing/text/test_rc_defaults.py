"""The user's settings of matplotlib apply to no figure, and are back afterwards."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import matplotlib
import pytest

from attnmon_renderer.drawing.text.rc_defaults import matplotlib_defaults, text_defaults


@pytest.mark.parametrize("defaults", [matplotlib_defaults, text_defaults])
def test_settings_are_defaults_within_and_the_users_afterwards(
    defaults: Callable[[], AbstractContextManager[None]],
) -> None:
    with matplotlib.rc_context({"text.hinting": "none", "text.usetex": True}):
        with defaults():
            expected = matplotlib.rcParamsDefault["text.hinting"]
            assert matplotlib.rcParams["text.hinting"] == expected
            assert matplotlib.rcParams["text.usetex"] is False
        assert matplotlib.rcParams["text.hinting"] == "none"
        assert matplotlib.rcParams["text.usetex"] is True


def test_settings_come_back_after_an_error() -> None:
    with matplotlib.rc_context({"text.hinting": "none"}):
        with pytest.raises(ZeroDivisionError), text_defaults():
            1 / 0  # noqa: B018
        assert matplotlib.rcParams["text.hinting"] == "none"


def test_only_text_and_paths_are_changed_for_text() -> None:
    with matplotlib.rc_context({"figure.facecolor": "red"}), text_defaults():
        assert matplotlib.rcParams["figure.facecolor"] == "red"
