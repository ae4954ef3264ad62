"""What a report says of every capture, however many there are: found without reading all of each.

A history has a line of some thousand bytes for each capture. To decode and check it takes tens of
times as long as to look for what is wrong with it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from attnmon_renderer.report.history_rows import head_values, layer_rows
from attnmon_renderer.storage.history_reader import HistoryFile, HistoryLine
from attnmon_renderer.storage.records import read_capture

LARGE_LOGIT = 1000.0
"""Dehghani et al. 2023 (arXiv 2302.05442) saw training diverge with logits beyond it."""

# What follows holds for lines as `sinks.history` writes them. A quote within a text has a backslash
# before it, so that no text can be taken for one of these names.
_HEAD = re.compile(rb'\{"metadata": \{"step": (-?\d{1,18}), "epoch": [^,]+, "loss": ([^,]+), ')
_NON_FINITE, _NONE = b'"non_finite": ', (b"0,", b"null,")
_LOGITS = b'"max_logit": ['
_DIGITS = b"0123456789"
_SHAPES = bytes(ord("0") if c in _DIGITS else c if c in b"." else ord(" ") for c in range(256))
"""Makes each digit of a number a 0, and all but a point a blank."""
_FOUR_DIGITS = b" 0000"


@dataclass(frozen=True, slots=True)
class CaptureFacts:
    """One capture of a run."""

    step: int
    place: int
    """Where its line begins in the history."""
    has_loss: bool
    is_broken: bool
    """Whether a weight is NaN or infinite."""
    has_large_logit: bool
    """Whether a logit is larger than `LARGE_LOGIT`."""
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
    rows = layer_rows(capture)
    logits = [value for row in rows for value in head_values(row, "max_logit")]
    return CaptureFacts(
        step=capture["metadata"]["step"],
        place=place,
        has_loss=capture["metadata"].get("loss") is not None,
        is_broken=any(row.get("non_finite") for row in rows),
        has_large_logit=max(logits, default=0.0) > LARGE_LOGIT,
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
    first, *others = content.split(_NON_FINITE)
    return CaptureFacts(
        step=int(head[1]),
        place=line.place,
        has_loss=head[2] != b"null",
        is_broken=any(not row.startswith(_NONE) for row in others),
        has_large_logit=_has_large_logit([_logits_in(row) for row in (first, *others)]),
    )


def _logits_in(row: bytes) -> bytes:
    """Return the numbers of a layer, of which there may be none."""
    begin = row.rfind(_LOGITS)
    return b"" if begin < 0 else row[begin + len(_LOGITS) : row.find(b"]", begin)]


def _has_large_logit(rows: list[bytes]) -> bool:
    """Return whether a number is larger than `LARGE_LOGIT`; most lines have none of four digits."""
    numbers = b", ".join(filter(None, rows))
    if _FOUR_DIGITS not in (b" " + numbers).translate(_SHAPES) and b"e+" not in numbers:
        return False
    return any(value > LARGE_LOGIT for value in json.loads(b"[%b]" % numbers) if value is not None)
