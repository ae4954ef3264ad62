"""Writes `summary.json`: the accounts of a run, rewritten while it goes on."""

import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attnmon.link.records.run_setup import Setup
from attnmon_renderer.process_messages import RunStatus
from attnmon_renderer.sinks.statistics_json import to_json
from attnmon_renderer.storage import atomic_files

_PACKAGES = ("numpy", "matplotlib", "pillow", "tensorboardX", "msgpack", "safetensors")


class Summary:
    """Once the state is "closed" or "trainer lost", captured == rendered + dropped + failed."""

    def __init__(self, path: Path, setup: Setup) -> None:
        self._path = path
        self._setup = setup
        self._versions = dict(setup.versions) | _own_versions()

    def write(self, status: RunStatus, **more: dict[str, Any] | None) -> None:
        """Replace the file with the present accounts. Raises OSError.

        `more`: further accounts, each under its name; None for those that the run does not have.
        """
        given = {name: account for name, account in more.items() if account is not None}
        content = to_json({**self._content(status), **given}, indent=2) + "\n"
        atomic_files.replace(self._path, content.encode())

    def _content(self, status: RunStatus) -> dict[str, Any]:
        trainer = status.trainer
        return {
            "state": status.state,
            **trainer.figures(status.rendered, status.failed),
            **status.remarks.figures(),
            **_freshness(status),
            **_kept(status, self._setup),
            "host": platform.node(),
            "pids": list(status.pids),
            "trainer_pid": self._setup.trainer_pid,
            **_process(self._setup),
            "started": self._setup.started,
            "written": time.time(),
            "ring": self._setup.ring_kind,
            "settings": settings_shown(self._setup),
            "errors": [*status.errors, *([trainer.error] if trainer.error else [])],
            "versions": self._versions,
        }


def _freshness(status: RunStatus) -> dict[str, Any]:
    """Return how soon captures are seen, and whether drawing competes with the training."""
    newest = status.newest_picture
    return {
        "starved": status.starved,
        "lag": status.lag,
        "newest_picture": newest,
        "newest_picture_age": None if newest is None else max(0.0, time.time() - newest),
    }


def _kept(status: RunStatus, setup: Setup) -> dict[str, Any]:
    """Return the accounts of a run that retains its last steps."""
    if not setup.keep_last:
        return {}
    return {
        "kept": status.retained,
        "not_kept": status.trainer.not_retained,
        "kept_seconds": status.trainer.retained_seconds,
        "dumps": [asdict(dump) for dump in status.dumps],
    }


def _process(setup: Setup) -> dict[str, int]:
    if setup.world_size == 1:
        return {}
    return {"rank": setup.rank, "world_size": setup.world_size}


def settings_shown(setup: Setup) -> dict[str, Any]:
    """Return the settings that decide what is drawn and written, by the user's names."""
    options = setup.options
    return {
        "pictures": options.pictures,
        "heads": options.heads,
        "pooling": options.pooling,
        "image_format": options.image_format,
        "pack": options.pack,
        "color_scale": "auto" if options.color_top is None else "fixed",
        "statistics_queries": options.statistics_queries or "all",
        "save_raw_weights": options.raw_weights,
        "maps": options.maps,
        "maps_side": options.maps_side,
        "use_tensorboard": options.tensorboard,
        "max_workers": setup.workers,
        "keep_last": setup.keep_last,
    }


def _own_versions() -> dict[str, str]:
    found = {"python (renderer)": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
