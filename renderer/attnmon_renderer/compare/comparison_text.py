"""Tells what a comparison has found on a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from attnmon_renderer.compare.findings import Comparison, NumberRow, RunInfo, in_times
from attnmon_renderer.compare.map_comparison import MapComparison
from attnmon_renderer.terminal import counted

MOST_SETTINGS = 20
MOST_ROWS = 12
LONGEST_VALUE = 40


def lines_of(found: Comparison) -> Iterator[str]:
    """Yield the lines: the verdict first, then what it rests on."""
    yield f"{found.verdict}: {found.reason}"
    yield from (f"! {reason}" for reason in found.comparability.why if reason != found.reason)
    yield from (f"! {damage}" for damage in found.damages[:5])
    yield ""
    for letter, group in (("A", found.a), ("B", found.b)):
        yield from (run_line(letter, run) for run in group)
    yield from _settings(found.settings)
    yield from _rows(found)
    if found.matching is not None:
        yield ""
        yield from maps_lines(found.matching)


def run_line(letter: str, run: RunInfo) -> str:
    """ "A  runs/first  closed, 12 captures, compared at step 1,100, loss 0.52" """
    words = [run.state, counted(run.captures, "capture")]
    if run.step is not None:
        words.append(f"compared at step {run.step:,}")
    if run.loss is not None:
        words.append(f"loss {run.loss:.4g}")
    return f"{letter}  {run.folder}  {', '.join(words)}"


def maps_lines(maps: MapComparison) -> Iterator[str]:
    """Yield how far the maps are apart, in sentences."""
    bound = "at least " if maps.is_bound else ""
    if maps.numbered is None or maps.matched is None:
        yield "maps: none has a query with weights in both"
        return
    usual = "" if maps.wobble is None else f" (neighbouring captures of a run: {maps.wobble:.2g})"
    yield f"maps: heads of the same number are {bound}{maps.numbered:.2g} bits apart{usual}"
    yield (
        f"maps: heads that resemble each other most are {bound}{maps.matched:.2g} bits apart; "
        f"{maps.moved} of {counted(maps.heads, 'head')} resemble one of another number most"
    )


def place_of(row: NumberRow) -> str:
    """ "decoder self 3 · head 5" """
    head = "" if row.head is None else f" · head {row.head}"
    return f"{row.role.replace('_', ' ')} {row.layer}{head}"


def shown(value: Any) -> str:
    """Return a value of a setting in few characters."""
    text = "–" if value is None else str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _settings(settings: dict[str, list[Any]]) -> Iterator[str]:
    yield ""
    if not settings:
        yield "no setting differs"
        return
    yield f"{counted(len(settings), 'setting')} not the same, A | B"
    rows = [(name, *map(shown, pair)) for name, pair in settings.items()]
    yield from (f"  {line}" for line in _aligned(rows[:MOST_SETTINGS]))
    if len(rows) > MOST_SETTINGS:
        yield f"  and {len(rows) - MOST_SETTINGS} more: --json lists all"


def _rows(found: Comparison) -> Iterator[str]:
    moved = [row for row in found.rows if row.delta]
    yield ""
    if not moved:
        yield f"{counted(len(found.rows), 'number')}, and none differs"
        return
    unit = "spreads of a group" if found.is_of_groups else "wobbles of a run"
    yield f"{len(moved):,} of {counted(len(found.rows), 'number')} differ, B − A, in {unit}"
    table = [
        (
            place_of(row),
            row.statistic,
            f"{row.a:.4g} → {row.b:.4g}",
            f"{row.delta:+.3g}",
            in_times(row.times),
        )
        for row in moved[:MOST_ROWS]
    ]
    yield from (f"  {line}" for line in _aligned(table))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
