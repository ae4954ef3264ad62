"""Monitors a transformer's attention while it trains."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attnmon._version import __version__

if TYPE_CHECKING:
    from attnmon.link.records.alert import Alert
    from attnmon.monitor import LightweightAttentionMonitor, TrainingAttentionMonitor
    from attnmon_renderer.report.notebook import ShownRun

__all__ = [
    "Alert",
    "LightweightAttentionMonitor",
    "ShownRun",
    "TrainingAttentionMonitor",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Lazy, because the renderer imports `attnmon.link` and must not load torch with it.
    if name in {"LightweightAttentionMonitor", "TrainingAttentionMonitor"}:
        with _without_collections():
            from attnmon import monitor

        return getattr(monitor, name)
    if name == "Alert":
        from attnmon.link.records.alert import Alert

        return Alert
    if name == "ShownRun":
        from attnmon_renderer.report.notebook import ShownRun  # reads files, without torch

        return ShownRun
    raise AttributeError(f"module 'attnmon' has no attribute {name!r}; it has {__all__}")


@contextmanager
def _without_collections() -> Iterator[None]:
    """Collect no garbage in this block: that of an import is none, and torch's objects are many."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
