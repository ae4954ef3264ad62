"""Writes a comparison as one HTML document.

Everything that comes from the runs is data and is escaped. A policy in the document forbids the
browser to load anything, and lets it use only this package's style and script, by their hashes.
"""

import base64
import hashlib
import time
from collections.abc import Iterable, Iterator
from html import escape
from string import Template
from typing import Any

from attnmon._version import __version__
from attnmon_renderer.compare.comparison_text import maps_lines, place_of, shown
from attnmon_renderer.compare.findings import Comparison, NumberRow, RunInfo, in_times
from attnmon_renderer.compare.page.curve_svg import curve_svg
from attnmon_renderer.compare.page.map_data import map_data
from attnmon_renderer.compare.series.curves_over_training import CurvePair
from attnmon_renderer.compare.verdicts import WORDS
from attnmon_renderer.html_parts import inert_json, live_modules, note, resource

MOST_ROWS = 2000
"""Numbers that are listed; more are in the JSON."""
FIRST_ROWS = 25
"""Numbers that are seen before more are asked for."""
FIRST_CURVES = 6
LIVE_MODULES = ("codes.js", "cells.js", "words.js")
"""Of the live page: what it has in common with this one."""
SCRIPT = '(() => {{\n"use strict";\n{}\n{}\n}})();'


def comparison_page(found: Comparison) -> str:
    """Return the whole HTML document. Raises OSError and BadMaps where maps are gone meanwhile."""
    style, template, script = (
        resource(f"compare/page/comparison.{kind}") for kind in ("css", "html", "js")
    )
    script = SCRIPT.format(live_modules(LIVE_MODULES), script)
    return Template(template).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=escape(_title(found)),
        verdict=escape(found.verdict),
        tone=WORDS[found.verdict].tone,
        reason=escape(found.reason),
        meaning=escape(WORDS[found.verdict].meaning),
        why="".join(f"<li>{escape(line)}</li>" for line in _remarks(found)),
        runs="".join(_run_rows(found)),
        settings=_settings(found),
        curves=_curves(found),
        numbers=_numbers(found),
        maps=_maps(found),
        data=inert_json(_data(found), allow_nan=False),
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M %Z"),
    )


def _title(found: Comparison) -> str:
    if found.is_of_groups:
        return f"{len(found.a)} runs | {len(found.b)} runs"
    return f"{found.a[0].name} | {found.b[0].name}"


def _remarks(found: Comparison) -> Iterator[str]:
    yield from (line for line in found.comparability.why if line != found.reason)
    yield from found.damages


def _run_rows(found: Comparison) -> Iterator[str]:
    for letter, runs in (("a", found.a), ("b", found.b)):
        yield from (_run_row(letter, run) for run in runs)


def _run_row(letter: str, run: RunInfo) -> str:
    return _row(
        f'<b class="letter {letter}">{letter.upper()}</b>',
        escape(run.name),
        escape(run.state),
        f"{run.captures:,}",
        "–" if run.step is None else f"{run.step:,}",
        "–" if run.loss is None else f"{run.loss:.4g}",
    )


def _settings(found: Comparison) -> str:
    if not found.settings:
        return note("No setting differs, of those that are recorded.")
    rows = (
        _row(
            escape(name),
            *(f'<span title="{escape(str(v))}">{escape(shown(v))}</span>' for v in pair),
        )
        for name, pair in found.settings.items()
    )
    return _table(("setting", "A", "B"), rows, "settings")


def _curves(found: Comparison) -> str:
    if not found.curves:
        return note("Curves are drawn for two runs that have captures.")
    first, more = found.curves[:FIRST_CURVES], found.curves[FIRST_CURVES:]
    rest = f"<details><summary>{len(more)} more</summary>{_grid(more, found)}</details>"
    return _grid(first, found) + (rest if more else "")


def _grid(pairs: Iterable[CurvePair], found: Comparison) -> str:
    charts = (f"<figure>{curve_svg(pair, found.align, found.at)}</figure>" for pair in pairs)
    return f'<div class="grid">{"".join(charts)}</div>'


def _numbers(found: Comparison) -> str:
    if not found.rows:
        return note("There are no numbers that both have.")
    unit = "spreads within a group" if found.is_of_groups else "wobbles of a run"
    listed = [row for row in found.rows[:MOST_ROWS] if row.delta == row.delta]
    rows = [_number_row(row) for row in listed]
    heading = ("where", "statistic", f"in {unit}", "B − A", "A", "B")
    table = _table(heading, rows[:FIRST_ROWS], "numbers")
    rest = _table(heading, rows[FIRST_ROWS:], "numbers") if len(rows) > FIRST_ROWS else ""
    more = f"<details><summary>{len(rows) - FIRST_ROWS} more</summary>{rest}</details>"
    return table + (more if rest else "")


def _number_row(row: NumberRow) -> str:
    sign = "more" if row.delta > 0 else "less" if row.delta < 0 else "same"
    delta = f"{row.delta:+.3g}".replace("-", "−")
    return _row(
        escape(place_of(row)),
        escape(row.statistic),
        in_times(row.times),
        f'<span class="{sign}">{delta}</span>',
        f"{row.a:.4g}",
        f"{row.b:.4g}",
    )


def _maps(found: Comparison) -> str:
    if found.matching is None:
        reason = (
            "Maps are compared between two runs, not between groups: heads have no common numbers."
            if found.is_of_groups
            else "There are no maps that are known to show the same text in both."
        )
        return note(reason)
    said = (line.partition(": ")[2] for line in maps_lines(found.matching))
    lines = "".join(f"<p>{escape(line[:1].upper() + line[1:])}.</p>" for line in said)
    return f'<div class="said">{lines}</div>{resource("compare/page/maps.html")}'


def _data(found: Comparison) -> dict[str, Any]:
    maps = None if found.matching is None else map_data(found.matching)
    rows = [] if found.is_of_groups else found.rows
    return {
        "maps": maps,
        "rows": [
            [f"{row.role.replace('_', ' ')} {row.layer}", row.head, row.statistic,
             *(each if each == each else None for each in (row.a, row.b, row.times))]
            for row in rows if row.head is not None
        ],
    }  # fmt: skip


def _table(heading: Iterable[str], rows: Iterable[str], kind: str) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
