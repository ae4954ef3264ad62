"""How the uploads of a run stand: `mirror.json`, and the same in `summary.json`.

While a run goes on its recorder alone writes the summary, and takes in what `mirror.json` says.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.json_fields import parse
from attnmon_renderer.storage.records import MIRROR, MOST_SUMMARY_BYTES, read_summary
from attnmon_renderer.storage.run_reader import ENDED

NAME = "mirror.json"
STOPPED = "stopped"
"""The state of an uploader whose bucket is not there, or is forbidden."""


@dataclass(frozen=True, slots=True)
class UploadStatus:
    """How the uploads stand."""

    url: str
    state: str = "running"
    """ "running", "complete", "stopped" for good, or "given up" when the time was over."""
    uploaded: int = 0
    """Objects in the bucket."""
    pending: int = 0
    """Objects that are still to be sent, as far as is known."""
    last_error: str = ""
    last_upload: float | None = None
    """When an object was sent last, in seconds since 1970."""

    def figures(self) -> dict[str, Any]:
        """Return it as it stands in `summary.json`."""
        return asdict(self)


def write_status(folder: Path, status: UploadStatus) -> None:
    """Write `mirror.json`. Raises OSError."""
    atomic_files.replace(folder / NAME, json.dumps(status.figures(), indent=2).encode() + b"\n")


def read_status(folder: Path) -> UploadStatus | None:
    """Return how the uploads stand; None where nothing is uploaded."""
    try:
        content = MIRROR(parse(regular_files.read(folder / NAME, MOST_SUMMARY_BYTES)))
    except (OSError, ValueError):
        return None
    return UploadStatus(**content)


def write_into_summary(folder: Path, status: UploadStatus) -> None:
    """Write the status into the summary of a run that has ended, which nobody else writes now.

    Raises OSError.
    """
    path = folder / "summary.json"
    with suppress(ValueError):
        if read_summary(path).fields.get("state") in ENDED:
            summary = parse(regular_files.read(path, MOST_SUMMARY_BYTES))
            content = json.dumps({**summary, "mirror": status.figures()}, indent=2) + "\n"
            atomic_files.replace(path, content.encode())


def with_summary(status: UploadStatus) -> UploadStatus:
    """Return the status as it will be once the summary that says so is in the bucket itself."""
    return replace(status, uploaded=status.uploaded + 1, pending=0, last_error="")
