"""Reads the JSON of a run: `summary.json`, `run.json` and a line of `history.jsonl`.

They may be damaged. What is returned has the types that the tables below say. What has not is left
out, and told.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attnmon.link import descriptors
from attnmon_renderer.storage import regular_files
from attnmon_renderer.storage.json_fields import (
    Check,
    Misfit,
    count,
    listed,
    maybe,
    moment,
    named,
    number,
    one_of,
    parse,
    record,
    scalar,
    scalars,
    text,
    truth,
    whole,
)

MOST_SUMMARY_BYTES = 1 << 24
_TAIL_BYTES = 1 << 20
_MOST_ROWS = 4096
_SHORTEST_LINE = len('{"metadata":{"step":1}}')

MIRROR = record(
    {"url": text, "state": text, "uploaded": count, "pending": count, "last_error": text},
    {"last_upload": number},
)
"""How the uploads of a run stand."""
SUMMARY: dict[str, Check] = {
    "state": text,
    **dict.fromkeys(
        ("captured", "rendered", "dropped", "failed", "steps", "kept", "not_kept"), count
    ),
    **dict.fromkeys(("interval", "stretched", "rank", "world_size"), count),
    **dict.fromkeys(("hook_seconds", "competed_seconds", "overhead", "kept_seconds"), number),
    **dict.fromkeys(("lag", "newest_picture_age"), maybe(number)),
    "newest_picture": maybe(moment),
    "last_step": maybe(whole),
    "dumps": listed(record({}, {"count": count, "step": whole, "reason": text})),
    "host": text,
    "ring": text,
    "pids": listed(whole),
    "trainer_pid": whole,
    "started": moment,
    "written": moment,
    "settings": named(scalars),
    **dict.fromkeys(("errors", "warnings", "not_seen"), listed(scalar)),
    "off": maybe(text),
    "versions": named(scalar),
    "disk": named(count),
    "mirror": MIRROR,
}
CAPTURE = record(
    {
        "metadata": record(
            {"step": whole},
            {
                "epoch": whole, "loss": number, "lr": number, "timestamp": number,
                "grad_norm": number, "loss_is_no_number": truth,
                "sample": whole, "seen_in": text, "kept_for": text, "rank": whole,
            },
        ),
        **dict.fromkeys(
            ("encoder", "decoder"),
            listed(
                record(
                    {"layer": whole, "type": one_of("self_attention", "cross_attention")},
                    {
                        **dict.fromkeys(("mean", "std", "min", "max", "error"), number),
                        **dict.fromkeys(("scale", "softcap", "future_mass"), number),
                        **dict.fromkeys(("width", "ahead"), whole),
                        **dict.fromkeys(("sees_all", "normed", "predicts"), truth),
                        "head_indices": listed(whole),
                        **dict.fromkeys(("name", "source", "note"), text),
                        "heads": named(listed(maybe(number))),
                        "shape": listed(whole, 3),
                        **dict.fromkeys(("non_finite", "queries_used"), whole),
                    },
                ),
                _MOST_ROWS,
            ),
        ),
    },
    {"error": text},
)  # fmt: skip


def _any_json(value: Any) -> Any:
    return value


_START: dict[str, Check] = {
    "started": moment,
    "host": text,
    "command": listed(text),
    "directory": text,
    "git": maybe(record({"commit": text}, {"dirty": scalar})),
    "versions": named(scalar),
}
_LAYER = record(
    {"role": text, "layer": count},
    {
        **dict.fromkeys(("module", "source", "note"), text),
        **dict.fromkeys(("heads", "queries", "keys"), count),
    },
)
_RUN = record(
    {"id": text, **_START, "resumed": listed(record(_START, {"step": whole, "probe": text}))},
    {
        "format": text,
        "probe": text,
        "settings": named(scalars),
        "config": _any_json,
        "rank": count,
        "world_size": count,
        "layers": listed(_LAYER),
    },
)


class RunSummary(NamedTuple):
    """What `summary.json` says, and a line for each thing in it that was left out."""

    fields: dict[str, Any]
    damages: tuple[str, ...] = ()


def read_summary(path: Path) -> RunSummary:
    """Read a summary. Raises OSError, and ValueError if it is none."""
    content = parse(regular_files.read(path, MOST_SUMMARY_BYTES))
    if not isinstance(content, dict):
        raise ValueError("not a summary of attnmon's")
    fields, damages = {}, []
    for name, value in content.items():
        try:
            fields[name] = SUMMARY.get(name, scalar)(value)
        except Misfit as misfit:
            if name in SUMMARY:
                damages.append(f"{path}: {name!r} is left out: it is not {misfit}")
    return RunSummary(fields, tuple(damages))


def read_run_description(path: Path) -> dict[str, Any]:
    """Return what `run.json` says. Raises OSError, and ValueError if it is none."""
    described: dict[str, Any] = _RUN(parse(regular_files.read(path, MOST_SUMMARY_BYTES)))
    return described


def read_capture(line: bytes) -> dict[str, Any] | None:
    """Return the capture in a line of a history; None if it is torn or none."""
    if len(line) < _SHORTEST_LINE:
        return None  # at once: a file may have millions of them
    try:
        capture: dict[str, Any] = CAPTURE(parse(line))
    except ValueError:
        return None
    return capture


def recorded_layers(capture: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the row of each layer in a capture's record, and before it the layer's stack."""
    for stack in ("encoder", "decoder"):
        for row in capture.get(stack) or ():
            yield stack, row


def read_tail(path: Path) -> bytes:
    """Return the end of a history; its first line may be cut. Raises OSError."""
    with regular_files.open_to_read(path) as file:
        return descriptors.read_tail(file.fileno(), _TAIL_BYTES)


def first_capture(path: Path) -> dict[str, Any] | None:
    """Return the first whole line of a history that begins so; None if there is none."""
    try:
        with regular_files.open_to_read(path) as file:
            lines = file.read(_TAIL_BYTES).splitlines()
    except OSError:
        return None
    return next((found for line in lines if (found := read_capture(line))), None)


def last_capture(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a history; torn lines are skipped."""
    try:
        lines = read_tail(path).splitlines()
    except OSError:
        return None
    return next((found for line in reversed(lines) if (found := read_capture(line))), None)
