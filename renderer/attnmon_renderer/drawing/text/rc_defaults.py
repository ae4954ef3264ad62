"""matplotlib's default settings, so that no matplotlibrc and no style changes a figure."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

_TEXT_SETTINGS = tuple(
    name
    for name in matplotlib.rcParamsDefault
    if name.startswith(("text.", "path.", "agg.", "hatch."))
)


@contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """Set all of matplotlib's settings to its defaults, and back to the user's at the end."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@contextmanager
def text_defaults() -> Iterator[None]:
    """Set the settings that affect text and paths to their defaults, and back at the end.

    It costs next to nothing if the user has changed none of them.
    """
    defaults = {name: matplotlib.rcParamsDefault[name] for name in _TEXT_SETTINGS}
    if all(matplotlib.rcParams[name] == value for name, value in defaults.items()):
        yield
        return
    with matplotlib.rc_context(defaults):
        yield
