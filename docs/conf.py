"""Sphinx settings of the site: `make docs` builds it, without network."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "renderer")]

from attnmon import __version__  # noqa: E402 - it is found by the line above

project = "attnmon"
author = "attnmon contributors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = False  # types of torch have no page here
myst_heading_anchors = 4  # as GitHub makes them, so that one link serves both

smartquotes_action = "De"  # dashes and dots: "./attention_logs" is code
default_role = "literal"  # docstrings are Markdown: `name` is code
autodoc_typehints = "none"  # the docstrings say each type
autodoc_member_order = "bysource"
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"attnmon {version}"
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
html_static_path = ["static"]
html_css_files = ["site.css"]


def say_language(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Name a Chinese page's language, by which browsers choose the shapes of its characters."""
    if page.startswith("zh/"):
        context["language"] = "zh-CN"


def link_to_guide(
    app: Any, what: str, name: str, thing: Any, options: Any, text: list[str]
) -> None:
    """Turn the guide's file name, in a docstring, into a link to its page."""
    text[:] = [re.sub("`?docs/guide.md`?", ":doc:`the guide <guide>`", line) for line in text]


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", link_to_guide)
    app.connect("html-page-context", say_language)
