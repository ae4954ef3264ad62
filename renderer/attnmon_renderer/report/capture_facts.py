"""What a report says of every capture, however many there are: found without reading all of each.

A history has a line of some thousand bytes for each capture. To decode and check it takes tens of
times as long as to look at how it begins and ends.
"""

import re
from dataclasses import dataclass
from typing import Any

from attnmon_renderer.storage.history_reader import HistoryFile, HistoryLine
from attnmon_renderer.storage.records import read_capture

# What follows holds for lines as `sinks.history` writes them. A quote within a text has a backslash
# before it, so that no text can be taken for one of these names.
_HEAD = re.compile(rb'\{"metadata": \{"step": (-?\d{1,18}), "epoch": [^,]+, "loss": ([^,]+), ')


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """One capture of a run."""

    step: int
    place: int
    """Where its line begins in the history."""
    has_loss: bool
    error: str = ""
    """What failed when it was drawn."""


def scan_history(history: HistoryFile) -> list[CaptureFacts]:
    """Return the facts of each step, in step order; of a step that was captured again, the last."""
    torn = 0
    found: dict[int, CaptureFacts] = {}
    for line in history.lines():
        if (facts := _facts_of_line(line)) is not None:
            found[facts.step] = facts
        else:
            torn += 1
    history.tell_left_out(torn)
    return [found[step] for step in sorted(found)]


def facts_of(capture: dict[str, Any], place: int = 0) -> CaptureFacts:
    """Return the facts of a capture that was read."""
    return CaptureFacts(
        step=capture["metadata"]["step"],
        place=place,
        has_loss=capture["metadata"].get("loss") is not None,
        error=capture.get("error") or "",
    )


def _facts_of_line(line: HistoryLine) -> CaptureFacts | None:
    """Return the facts of a line; None if it is torn, or no capture."""
    try:
        facts = _facts_at_a_glance(line)
    except (ValueError, TypeError):  # nothing that `sinks.history` writes
        facts = None
    if facts is None and (capture := read_capture(line.content)) is not None:
        facts = facts_of(capture, line.place)
    return facts


def _facts_at_a_glance(line: HistoryLine) -> CaptureFacts | None:
    """Return the facts of a line that is written as usual and tells no error; None of others."""
    content = line.content
    head = _HEAD.match(content)
    if head is None or not content.endswith(b"]}\n"):  # after an error it ends otherwise
        return None
    return CaptureFacts(
        step=int(head[1]),
        place=line.place,
        has_loss=head[2] != b"null",
    )
