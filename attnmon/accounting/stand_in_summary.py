"""Writes `summary.json` as long as no renderer does it: at the start, or where there is none."""

import contextlib
import json
import os
import platform
import secrets
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attnmon.options import PRIVATE_FOLDER

MOST_BYTES = 1 << 24
_NAME = "summary.json"


def write_summary(
    folder: Path,
    state: str,
    accounts: dict[str, Any],
    pids: Sequence[int] = (),
    mode: int = PRIVATE_FOLDER,
) -> None:
    """Replace the folder's summary by these accounts; does nothing where that cannot be.

    `pids`: of the renderer's processes; `mode`: of folders, which its file gets as far as it goes.
    """
    content = {
        "state": state,
        **accounts,
        "host": platform.node(),
        "pids": list(pids),
        "trainer_pid": os.getpid(),
        "written": time.time(),
    }
    temporary = folder / f".{_NAME}.attnmon-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    with contextlib.suppress(OSError, ValueError):
        text = json.dumps(content, indent=2)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode & 0o666)
        os.replace(temporary, folder / _NAME)


def amend_summary(
    folder: Path, state: str, accounts: dict[str, Any], mode: int = PRIVATE_FOLDER
) -> None:
    """Write these accounts over those that a renderer has left, unless it said itself it is off."""
    left = _read(folder / _NAME)
    if not left.get("off"):
        write_summary(folder, state, {**left, **accounts, "state": state}, mode=mode)


def finish_summary(folder: Path, accounts: dict[str, Any], mode: int = PRIVATE_FOLDER) -> None:
    """Write these accounts over those of a renderer that was ended; remove what it was writing."""
    with contextlib.suppress(OSError):
        for unfinished in folder.glob(f".{_NAME}.attnmon-*.tmp"):
            unfinished.unlink()
    left = _read(folder / _NAME)
    write_summary(folder, "closed", {**left, **accounts, "state": "closed"}, mode=mode)


def _read(path: Path) -> dict[str, Any]:
    """Return what the file holds; nothing unless it is a regular file with a JSON object."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                content = json.loads(file.read(MOST_BYTES))  # of a longer one no JSON is left
                return content if isinstance(content, dict) else {}
    return {}
