"""The end: the renderer is told, and waited for as long as the user allows."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmon.session.drawing_progress import DrawingProgress
from attnmon.session.producer import Producer

PROGRESS_AFTER_SECONDS = 1.0
NEWS_SECONDS = 0.2


def shut_down(producer: Producer, collect: Callable[[], None], deadline: float) -> None:
    """Say goodbye and collect what is drawn, until the renderer has ended, or the deadline."""
    started = time.monotonic()
    progress = DrawingProgress(producer.pending)
    said = producer.send_goodbye()
    while not producer.lost and (left := deadline - time.monotonic()) > 0:
        producer.wait_for_message(min(left, NEWS_SECONDS))
        said = said or producer.send_goodbye()
        collect()
        if time.monotonic() - started > PROGRESS_AFTER_SECONDS:
            progress.show(producer.pending)
    progress.clear()


def summary_line(accounts: dict[str, Any], save_dir: Path) -> str:
    """The accounts, for the log."""
    pending = f", {accounts['pending']} still being drawn" if accounts["pending"] else ""
    return (
        f"attnmon: {accounts['captured']} captured, {accounts['rendered']} rendered, "
        f"{accounts['dropped']} dropped, {accounts['failed']} failed{pending}; "
        f"{accounts['hook_seconds']:.3f} s in the training process; see {save_dir}"
    )
