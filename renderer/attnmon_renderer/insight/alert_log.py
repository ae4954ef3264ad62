"""Reads and writes `alerts.jsonl`: a line at each change of state of an alert."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attnmon.link import descriptors
from attnmon.link.records import alert as alerts
from attnmon.link.records.alert import Alert
from attnmon_renderer.storage import atomic_files, regular_files
from attnmon_renderer.storage.json_fields import (
    Check,
    Misfit,
    listed,
    maybe,
    number,
    one_of,
    parse,
    record,
    text,
    whole,
)

FILE = "alerts.jsonl"
MOST_BYTES = 1 << 23
"""Of a longer file the end is read."""
MOST_ALERTS = 10_000
"""Of more episodes the latest are returned."""

_SHORTEST_LINE = len('{"id":"","rule":"","severity":"info","state":"firing","step":1}')
_PICTURE = re.compile(r"((epoch_-?\d+_)?step_-?\d+(\.zip)?/)?[A-Za-z0-9_]+\.(png|svg|pdf)")


def read_alerts(folder: Path) -> list[Alert]:
    """Return the alerts of a run, each in its last state, in the order in which they began.

    What is damaged is left out. Empty where there is no file, or none that can be read.
    """
    return [episode[-1] for episode in read_episodes(folder)]


def read_episodes(folder: Path) -> list[list[Alert]]:
    """Return the changes of state of each alert of a run, oldest first."""
    found: dict[str, list[Alert]] = {}
    for alert in _read_lines(folder / FILE):
        found.setdefault(alert.id, []).append(alert)
    return list(found.values())[-MOST_ALERTS:]


def append_alerts(folder: Path, changed: Iterable[Alert]) -> None:
    """Add a line for each of these, all in one write. Raises OSError."""
    content = "".join(f"{_to_json(alert)}\n" for alert in changed).encode()
    if not content:
        return
    path = folder / FILE
    descriptor = atomic_files.open_to_append(path)
    try:
        before = os.fstat(descriptor).st_size
        content = (b"" if _ends_whole(path) else b"\n") + content
        if os.write(descriptor, content) != len(content):
            os.ftruncate(descriptor, before)  # a full disk took half of it
            raise OSError(28, "no space left for an alert", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_json(alert: Alert) -> str:
    fields = alert.fields()
    for name in ("value", "threshold"):
        if fields[name] is not None and not math.isfinite(fields[name]):
            fields[name] = None
    return json.dumps(fields, allow_nan=False)


def _ends_whole(path: Path) -> bool:
    tail = _read_end(path, 1)
    return not tail or tail == b"\n"


def _read_end(path: Path, most: int) -> bytes:
    with regular_files.open_to_read(path) as file:
        return descriptors.read_tail(file.fileno(), most)


def _read_lines(path: Path) -> Iterator[Alert]:
    try:
        lines = _read_end(path, MOST_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        if (found := read_alert(line)) is not None:
            yield found


def read_alert(line: bytes) -> Alert | None:
    """Return the alert in a line; None if it is torn or none."""
    if len(line) < _SHORTEST_LINE:
        return None  # at once: a file may have millions of them
    try:
        fields: dict[str, Any] = _ALERT(parse(line))
        given = {_NAMES.get(key, key): value for key, value in fields.items() if value is not None}
        return Alert(**given)
    except ValueError:
        return None


def _short(value: Any) -> str:
    if len(text(value)) > alerts.LONGEST_TEXT:
        raise Misfit("short text")
    return text(value)


def _picture(value: Any) -> str:
    """Let the name of a picture pass that a run's directory may hold, and no other path."""
    if not _PICTURE.fullmatch(_short(value)):
        raise Misfit("a picture's name")
    return str(value)


def _tuple(check: Check) -> Check:
    return lambda value: tuple(check(value))


_NAMES = {"try": "advice"}
_ALERT = record(
    {
        "id": _short,
        "rule": _short,
        "severity": one_of(*alerts.SEVERITIES),
        "state": one_of("firing", "resolved"),
        "step": whole,
    },
    {
        "role": _short,
        "layer": maybe(whole),
        "heads": _tuple(listed(whole, alerts.MOST_HEADS)),
        "value": number,
        "threshold": number,
        "text": _short,
        "try": _short,
        "pictures": _tuple(listed(_picture, alerts.MOST_PICTURES)),
    },
)
