"""Shuts a session down: says goodbye, and waits for the last drawings as long as the user allows.

Whoever waits is told how many are left: by a line on a terminal, now and then in the log.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmon.accounting import standard_error
from attnmon.accounting.error_guard import announce
from attnmon.session.producer import Producer

PROGRESS_AFTER_SECONDS = 1.0
"""How long the user waits before the line is shown."""
LOG_EVERY_SECONDS = 10.0
"""How often the log says it, where no line is kept up to date."""
POLL_SECONDS = 0.2
"""The longest wait for one message, after which the line is updated."""


def shut_down(
    producer: Producer, poll: Callable[[], None], deadline: float, mirror: str | None = None
) -> None:
    """Say goodbye and read acknowledgements until the renderer has ended, or until the deadline.

    `poll` reads what the renderer has sent; `deadline` is a time of `time.monotonic`; `mirror` is
    the URL that it uploads to before it ends.
    """
    started = time.monotonic()
    progress = DrawingProgress(producer.pending, mirror)
    said_goodbye = producer.send_goodbye()
    while not producer.lost and (left := deadline - time.monotonic()) > 0:
        producer.wait_for_message(min(left, POLL_SECONDS))
        said_goodbye = said_goodbye or producer.send_goodbye()
        poll()
        if time.monotonic() - started > PROGRESS_AFTER_SECONDS:
            progress.show(producer.pending)
    progress.clear()


class DrawingProgress:
    """A line that says how many of `total` drawings are left, and then what is waited for.

    A terminal shows it, and its numbers change; elsewhere the log gets one now and then.
    """

    def __init__(self, total: int, mirror: str | None = None) -> None:
        self._total = total
        self._mirror = mirror
        self._shown = False
        self._logged = -LOG_EVERY_SECONDS

    def show(self, left: int) -> None:
        """Write the line, over the one before it."""
        text = f"attnmon: drawing the last captures, {left} of {self._total} left"
        if not left and self._mirror is not None:
            text = f"attnmon: all is drawn; uploading what is left to {self._mirror}"
        if standard_error.is_terminal():
            standard_error.write(f"\r{text}\033[K")
            self._shown = True
        elif time.monotonic() - self._logged >= LOG_EVERY_SECONDS:
            self._logged = time.monotonic()
            announce(text)

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self._shown:
            standard_error.write("\r\033[K")
            self._shown = False


def mirror_trouble(save_dir: Path) -> str:
    """Return why the run is not uploaded, as the uploader wrote it; empty if it is, or will be."""
    try:
        status = json.loads((save_dir / "mirror.json").read_bytes())
        is_over = status["state"] in ("stopped", "given up")
        return str(status["last_error"]) if is_over else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def summary_line(accounts: dict[str, Any], save_dir: Path) -> str:
    """Return the accounts as one line for the log."""
    pending = f", {accounts['pending']} still being drawn" if accounts["pending"] else ""
    return (
        f"attnmon: {accounts['captured']} captured, {accounts['rendered']} rendered, "
        f"{accounts['dropped']} dropped, {accounts['failed']} failed{pending}; "
        f"{accounts['hook_seconds']:.3f} s in the training process; see {save_dir}"
    )
