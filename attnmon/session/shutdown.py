"""Shuts a session down: says goodbye, and waits for the last drawings as long as the user allows.

On a terminal, a line shows how many are left.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmon.accounting import standard_error
from attnmon.session.producer import Producer

PROGRESS_AFTER_SECONDS = 1.0
"""How long the user waits before the line is shown."""
POLL_SECONDS = 0.2
"""The longest wait for one message, after which the line is updated."""


def shut_down(producer: Producer, poll: Callable[[], None], deadline: float) -> None:
    """Say goodbye and read acknowledgements until the renderer has ended, or until the deadline.

    `poll` reads what the renderer has sent; `deadline` is a time of `time.monotonic`.
    """
    started = time.monotonic()
    progress = DrawingProgress(producer.pending)
    said_goodbye = producer.send_goodbye()
    while not producer.lost and (left := deadline - time.monotonic()) > 0:
        producer.wait_for_message(min(left, POLL_SECONDS))
        said_goodbye = said_goodbye or producer.send_goodbye()
        poll()
        if time.monotonic() - started > PROGRESS_AFTER_SECONDS:
            progress.show(producer.pending)
    progress.clear()


class DrawingProgress:
    """A line that says how many of `total` drawings are left.

    Goes to standard error, and only where that is a terminal.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._shown = False

    def show(self, left: int) -> None:
        """Write the line, over the one before it."""
        if standard_error.is_terminal():
            text = f"attnmon: drawing the last captures, {left} of {self._total} left"
            standard_error.write(f"\r{text}\033[K")
            self._shown = True

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self._shown:
            standard_error.write("\r\033[K")
            self._shown = False


def summary_line(accounts: dict[str, Any], save_dir: Path) -> str:
    """Return the accounts as one line for the log."""
    pending = f", {accounts['pending']} still being drawn" if accounts["pending"] else ""
    return (
        f"attnmon: {accounts['captured']} captured, {accounts['rendered']} rendered, "
        f"{accounts['dropped']} dropped, {accounts['failed']} failed{pending}; "
        f"{accounts['hook_seconds']:.3f} s in the training process; see {save_dir}"
    )
