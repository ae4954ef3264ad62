"""matplotlib without its user: no setting of a matplotlibrc or a style changes a picture."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

_OF_TEXT = tuple(name for name in matplotlib.rcParamsDefault if name.startswith("text."))


@contextmanager
def default_settings() -> Iterator[None]:
    """All of matplotlib's settings are its own defaults, and the user's again afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@contextmanager
def default_text_settings() -> Iterator[None]:
    """The same for those that bear on how letters are drawn; free when nothing was changed."""
    defaults = {name: matplotlib.rcParamsDefault[name] for name in _OF_TEXT}
    if all(matplotlib.rcParams[name] == value for name, value in defaults.items()):
        yield
        return
    with matplotlib.rc_context(defaults):
        yield
