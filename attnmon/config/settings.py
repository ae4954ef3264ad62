"""From what a user gave to checked settings, and to a directory that can be written to.

Every mistake that can be known at construction raises `ValueError` or `TypeError` here, before
training starts. What only shows in training is warned about and counted there.
"""

import difflib
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attnmon.config.coordinates import find_coordinates
from attnmon.config.distributed import find_process_rank
from attnmon.config.option_table import OPTIONS, Settings
from attnmon.link.bucket_url import refuse_inside
from attnmon.options import PRIVATE_FOLDER, Options

__all__ = ["Settings", "checked_settings", "is_disabled", "make_writable_directory", "prepare_run"]

PATIENCE_SECONDS = 1.0
"""How long construction waits for the disk."""


def checked_settings(*, options: Mapping[str, Any], **parameters: Any) -> Settings:
    """Return the settings in their checked form, with defaults for what was not given.

    parameters: options that the monitor's signature names; options: its other keywords.

    Raises `TypeError` or `ValueError` for the first mistake. Makes no directory.
    """
    _refuse_unknown(options)
    given = {**parameters, **options}
    assert given.keys() <= OPTIONS.keys()
    checked = {
        name: option.check(name, given.get(name, option.default))
        for name, option in OPTIONS.items()
    }
    process = find_process_rank(checked["rank"])
    if checked["ranks"] == "model" and checked["coordinates"] is None:
        checked["coordinates"] = find_coordinates()
    if checked["ranks"] != "zero":  # several processes may write: each has its own folder
        checked["save_dir"] /= process.folder
    checked |= {"rank": process.rank, "world_size": process.world_size}
    return Settings(**checked)


def _refuse_unknown(options: Mapping[str, Any]) -> None:
    """Raise `TypeError` for a keyword that is no option, with the nearest one that is."""
    for name in options:
        if name not in Options.__annotations__:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            if name in OPTIONS:
                hint = " TrainingAttentionMonitor has it."
            there = ", ".join(Options.__annotations__)
            raise TypeError(f"unknown setting {name!r}.{hint} Further settings are {there}.")


def prepare_run(settings: Settings) -> str:
    """Check what depends on the process that is watched, and make its directory.

    Returns why nothing can be written if the disk does not answer, and "" if all is well. Raises
    `ValueError` for ranks that do not exist, `OSError` where nothing can be written.
    """
    if is_disabled():
        return ""
    ranks = settings.ranks
    if isinstance(ranks, tuple) and min(ranks) >= settings.world_size:
        last = settings.world_size - 1
        raise ValueError(f"ranks={list(ranks)}: there are only the ranks 0 … {last}")
    if ranks == "model" and settings.world_size > 1 and settings.coordinates is None:
        raise ValueError(
            "ranks='model': neither a DeviceMesh with names nor Megatron's state says which part "
            "of the model this process holds. Make the monitor after them, or give coordinates="
            '{"pp": (0, 2), "tp": (1, 4), "dp": (0, 8)}, each (index, size)'
        )
    if not settings.rank_is_selected or completes(partial(_make_directories, settings)):
        return ""
    return (
        f"the disk of save_dir={str(settings.save_dir)!r} has not answered for "
        f"{PATIENCE_SECONDS:g} s, and training does not wait for it"
    )


def _make_directories(settings: Settings) -> None:
    if settings.mirror is not None:
        base = settings.save_dir if settings.ranks == "zero" else settings.save_dir.parent
        refuse_inside(settings.mirror, base)
    if settings.ranks != "zero":  # in a folder of its own below the user's, which is made likewise
        make_writable_directory(settings.save_dir.parent, settings.mode)
        if settings.save_dir.is_symlink():
            raise NotADirectoryError(f"save_dir: {settings.save_dir} is a link; remove it")
    make_writable_directory(settings.save_dir, settings.mode)


def completes(task: Callable[[], object]) -> bool:
    """Run something that may hang in the file system; False if it has not come back in time.

    Raises what it raises. It cannot be ended: a thread of its own goes on waiting for it.
    """
    errors: list[Exception] = []

    def run() -> None:
        try:
            task()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="attnmon: save_dir", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there is no room for a thread
        task()
        return True
    thread.join(PATIENCE_SECONDS)
    if errors:
        raise errors[0]
    return not thread.is_alive()


def is_disabled() -> bool:
    """Return whether the environment switches every monitor off: nothing is made or checked."""
    return os.environ.get("ATTNMON_DISABLE", "0") not in ("", "0")


def make_writable_directory(path: Path, mode: int = PRIVATE_FOLDER) -> None:
    """Make the directory if need be, with this mode; one that is there keeps its own.

    Raises `OSError` that names it if it cannot be written to.
    """
    try:
        if not path.exists():
            path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            path.chmod(mode | path.stat().st_mode & stat.S_ISGID)  # which the folder above gave it
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise type(error)(
            error.errno,
            f"save_dir={str(path)!r} cannot be written to ({error.strerror}); "
            "choose another directory or free this one",
        ) from error
