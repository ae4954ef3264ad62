"""Writes a comparison as one HTML document: the live page's own parts, with the answers in it.

Everything that comes from the runs is data and is escaped. A policy in the document forbids the
browser to load anything, and lets it use only this package's style and script, by their hashes.
"""

import base64
import hashlib
import time
from html import escape
from string import Template
from urllib.parse import urlencode

from attnmon._version import __version__
from attnmon_renderer.compare.comparison_text import lines_of
from attnmon_renderer.compare.findings import Comparison, RunInfo
from attnmon_renderer.compare.page.compared_maps import ComparedMaps
from attnmon_renderer.html_parts import live_script, note, resource
from attnmon_renderer.inlined_answers import InlinedAnswers

MAPS = '<section>\n<h2>Maps of both</h2>\n{}<attn-looks class="looks"></attn-looks>\n</section>'


def comparison_page(found: Comparison) -> str:
    """Return the whole HTML document. Raises OSError and BadMaps where maps are gone meanwhile."""
    style = resource("view/page/style.css", "compare/page/comparison.css")
    script = live_script("document.js")
    maps = None if found.matching is None else ComparedMaps(found.matching)
    return Template(resource("compare/page/comparison.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=escape(f"{_name(found.a)} | {_name(found.b)}"),
        place=escape(f"?{urlencode(_place(found, maps))}"),
        text=escape("\n".join(lines_of(found))),
        maps="" if maps is None else MAPS.format(_left_out(maps)),
        answers=_answers(found, maps).elements(),
        version=__version__,
        made=time.strftime("%Y-%m-%d %H:%M %Z"),
    )


def _name(group: list[RunInfo]) -> str:
    return group[0].name if len(group) == 1 else f"{len(group)} runs"


def _place(found: Comparison, maps: ComparedMaps | None) -> dict[str, str]:
    """Return what is looked at first, as the live page's address would say it."""
    place = {"screen": "compare", "other": "b", "view": "both", "align": found.align}
    if maps is not None:
        place["layer"], place["head"] = maps.farthest
    return place


def _left_out(maps: ComparedMaps) -> str:
    if not maps.left_out:
        return ""
    return note(
        f"The maps of {maps.left_out} more heads, which differ less, are left out to keep this "
        "file small."
    )


def _answers(found: Comparison, maps: ComparedMaps | None) -> InlinedAnswers:
    answers = InlinedAnswers()
    answers.add("compare", found.to_json())
    for run, group in (("a", found.a), ("b", found.b)):
        if maps is not None:
            maps.add_to(answers, run)
        answers.add_run(run, _name(group))
    return answers


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
