"""Renders a report as one HTML document.

Everything that comes from the run is data and is escaped. A policy in the document forbids the
browser to load anything, and to run any script but this package's.
"""

import time
from collections.abc import Iterable
from html import escape
from string import Template
from typing import Any

from attnmon._version import __version__
from attnmon_renderer.html_parts import inert_json, live_script, note, resource
from attnmon_renderer.report import tables
from attnmon_renderer.report.alerts import find_alerts
from attnmon_renderer.report.embed import data_uris
from attnmon_renderer.report.gather import ReportData, ReportStep
from attnmon_renderer.report.map_steps import page_answers
from attnmon_renderer.report.svg_chart import step_x, svg_chart


def render_report(data: ReportData, title: str) -> str:
    """Returns the whole HTML document."""
    history, pictures = data.history, _pictures(data)  # first: it finds out what is damaged
    last = f" · step {history[-1]['metadata']['step']:,}" if history else ""
    return _fill_template(
        "page.html",
        title=escape(title),
        style=resource("view/page/style.css", "report/page.css"),
        headline=escape(tables.headline(data)),
        alerts=_alert_list(find_alerts(data)),
        chart=svg_chart(history) or note("No capture was recorded."),
        maps=_maps(data),
        pictures=pictures,
        last_step=last,
        statistics=_table(*tables.statistics_table(history[-1])) if history else note("None."),
        facts=_definition_list(tables.run_facts(data)),
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M %Z"),
    )


def _maps(data: ReportData) -> str:
    if not data.maps.steps:
        return ""
    return _fill_template(
        "maps.html",
        shown=escape(tables.shown_maps(data.maps)),
        answers=page_answers(data.maps, data.history, data.alerts).elements(),
        script=live_script("document.js"),
    )


def _pictures(data: ReportData) -> str:
    shown = tables.shown_steps(data)
    if not data.steps and data.maps.steps:
        return ""
    if not data.steps:
        return f"<section><h2>Pictures</h2>{note(shown)}</section>"
    steps = [_step(step, data) for step in data.steps]
    return _fill_template(
        "viewer.html",
        shown=escape(shown),
        last=str(len(steps) - 1),
        steps=inert_json(steps),
        script=_resource("page.js"),
    )


def _step(step: ReportStep, data: ReportData) -> dict[str, Any]:
    return {
        "label": tables.step_label(step.number, step.metadata),
        "x": round(step_x(step.number, data.history), 1),
        "pictures": data_uris(step.pictures, data.damages),
    }


def _alert_list(lines: list[str]) -> str:
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


def _definition_list(items: dict[str, str]) -> str:
    pairs = (f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items.items())
    return f"<dl>{''.join(pairs)}</dl>"


def _resource(*names: str) -> str:
    return resource(*(f"report/{name}" for name in names))


def _fill_template(name: str, **parts: str) -> str:
    return Template(_resource(name)).substitute(parts)
