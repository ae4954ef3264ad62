"""The steps of a run's alerts, whose pictures and maps stay as long as others can go."""

import contextlib
import os
from pathlib import Path

from attnmon_renderer.insight.alert_log import FILE, MOST_BYTES, read_alert
from attnmon_renderer.storage import regular_files


class AlarmedSteps:
    """Reads `alerts.jsonl`, from then on only what was added to it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read = 0
        """Bytes."""
        self._steps: set[int] = set()

    def __call__(self) -> set[int]:
        """Return the steps of all alerts so far; none where there is no file."""
        with contextlib.suppress(OSError), regular_files.open_to_read(self._path) as file:
            if os.fstat(file.fileno()).st_size < self._read:
                self._read, self._steps = 0, set()  # it is another file
            file.seek(self._read)
            whole = file.read(MOST_BYTES).rpartition(b"\n")[0]
            self._read += len(whole) + bool(whole)
            alerts = map(read_alert, whole.splitlines())
            self._steps |= {alert.step for alert in alerts if alert is not None}
        return self._steps
