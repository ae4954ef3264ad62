"""What the documents of `attnmon report` and `attnmon compare` are made of."""

import json
import re
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any


def inert_json(content: Any, *, allow_nan: bool = True) -> str:
    """Return JSON that is safe in a script element: it cannot end the element or start another.

    Raises ValueError for numbers that are not finite, where they are not allowed.
    """
    text = json.dumps(content, separators=(",", ":"), allow_nan=allow_nan)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def note(text: str) -> str:
    """Return a remark in small letters."""
    return f'<p class="note">{escape(text)}</p>'


def resource(*paths: str) -> str:
    """Return the text of files of this package."""
    texts = (files("attnmon_renderer").joinpath(path).read_text(encoding="utf-8") for path in paths)
    return "\n".join(map(str.rstrip, texts))


def live_modules(names: Iterable[str]) -> str:
    """Return modules of the live page as a part of a script: nothing is imported or exported."""
    source = resource(*(f"view/page/pure/{name}" for name in names))
    without_imports = re.sub(r"^import [^;]*;\n", "", source, flags=re.MULTILINE)
    return re.sub(r"^export ", "", without_imports, flags=re.MULTILINE)
