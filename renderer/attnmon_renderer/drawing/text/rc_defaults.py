"""matplotlib without its user: no setting of a matplotlibrc or a style changes a picture."""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

_OF_INK = tuple(
    name
    for name in matplotlib.rcParamsDefault
    if name.startswith(("text.", "path.", "agg.", "hatch."))
)


@contextmanager
def matplotlib_defaults() -> Iterator[None]:
    """All of matplotlib's settings are its own defaults, and the user's again afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@contextmanager
def text_defaults() -> Iterator[None]:
    """The same for those that bear on letters and paths; free when nothing was changed."""
    defaults = {name: matplotlib.rcParamsDefault[name] for name in _OF_INK}
    if all(matplotlib.rcParams[name] == value for name, value in defaults.items()):
        yield
        return
    with matplotlib.rc_context(defaults):
        yield
