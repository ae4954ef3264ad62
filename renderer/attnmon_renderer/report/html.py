"""The report itself: what was found, as one HTML document.

Everything that comes from the run is data: escaped wherever it stands, and a policy in the document
forbids the browser to load anything or to run what is not this module's.
"""

import json
import time
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from attnmon._version import __version__
from attnmon_renderer.report import tables
from attnmon_renderer.report.alerts import alerts
from attnmon_renderer.report.embed import data_uris
from attnmon_renderer.report.gather import Findings, Step
from attnmon_renderer.report.svg_chart import chart, x_of


def page(findings: Findings, title: str) -> str:
    """The whole document."""
    history = findings.history
    last = f" · step {history[-1]['metadata']['step']:,}" if history else ""
    return _filled(
        "page.html",
        title=escape(title),
        style=_part("page.css"),
        lead=escape(tables.lead(findings)),
        alerts=_alarms(alerts(findings)),
        chart=chart(history) or _note("No capture was recorded."),
        pictures=_pictures(findings),
        last_step=last,
        statistics=_table(*tables.statistics(history[-1])) if history else _note("None."),
        facts=_list(tables.of_the_run(findings)),
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M %Z"),
    )


def _pictures(findings: Findings) -> str:
    shown = tables.shown(findings)
    if not findings.steps:
        return f"<section><h2>Pictures</h2>{_note(shown)}</section>"
    steps = [_step(step, findings.history) for step in findings.steps]
    return _filled(
        "viewer.html",
        shown=escape(shown),
        last=str(len(steps) - 1),
        steps=inert_json(steps),
        script=_part("page.js"),
    )


def _step(step: Step, history: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "label": tables.label(step),
        "x": round(x_of(step.number, history), 1),
        "pictures": data_uris(step.pictures),
    }


def inert_json(content: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(content, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _alarms(lines: list[str]) -> str:
    if not lines:
        return '<div class="well">Every capture was drawn, and nothing was lost.</div>'
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="alarms"><ul>{items}</ul></div>'


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str) -> str:
    is_number = text.replace(".", "").replace("-", "").replace("e", "").isdecimal()
    return f"<td>{escape(text)}</td>" if is_number else f'<td class="name">{escape(text)}</td>'


def _list(items: dict[str, str]) -> str:
    pairs = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items())
    return f"<dl>{''.join(pairs)}</dl>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _filled(name: str, **parts: str) -> str:
    return Template(_part(name)).substitute(parts)


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8").rstrip()
