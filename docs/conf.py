"""Sphinx settings of the site: `make docs` builds it, without network."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "renderer")]

from attnmon import __version__  # noqa: E402 - it is found by the line above
from attnmon.integrations import huggingface, lightning  # noqa: E402

for module in (huggingface, lightning):  # else each would only be called an alias
    module.AttentionCallback.__name__ = "AttentionCallback"

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
napoleon_custom_sections = ["Errors"]

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


def prepare_docstring(
    app: Any, what: str, name: str, thing: Any, options: Any, text: list[str]
) -> None:
    """Turn the guide's file name, in a docstring, into a link to its page.

    And have `Raises` that names no exception taken for a text, not for the name of one.
    """
    linked = re.sub("`?docs/guide.md`?", ":doc:`the guide <guide>`", "\n".join(text))
    text[:] = re.sub(r"^Raises:(?=\n {4}(?!\w+: ))", "Errors:", linked, flags=re.M).split("\n")


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)  # before napoleon
    app.connect("html-page-context", say_language)
