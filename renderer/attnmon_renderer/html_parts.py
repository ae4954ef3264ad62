"""What the documents of `attnmon report` and `attnmon compare` are made of."""

import json
import posixpath
import re
from html import escape
from pathlib import Path
from typing import Any

_IMPORT = re.compile(r'^import (?:(.+) from |)"(.+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:class|const|function) (\w+))", re.MULTILINE)


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
    folder = Path(__file__).parent
    texts = (folder.joinpath(path).read_text(encoding="utf-8") for path in paths)
    return "\n".join(map(str.rstrip, texts))


def live_script(first: str) -> str:
    """Return modules of the live page as one, which asks the document it is in, and no server."""
    page = Path(__file__).parent / "view" / "page"
    modules = {str(path.relative_to(page)): path.read_text("utf-8") for path in page.rglob("*.js")}
    modules["panels/ask.js"] = modules["panels/inlined.js"]
    return joined(modules, first)


def joined(modules: dict[str, str], first: str) -> str:
    """Return one module that does what `first` and all that it imports do.

    Each becomes a function that returns its exports, and is called before those that import it.
    Imports and exports stand on a line each; what is exported is a class, a function or a constant.

    Raises ValueError where modules import each other.
    """
    calls: dict[str, str] = {}

    def add(name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"modules import each other: {' → '.join((*importers, name))}")
        if name not in calls:
            for _, path in _IMPORT.findall(modules[name]):
                add(_imported(name, path), (*importers, name))
            calls[name] = _call(name, modules[name])

    add(first, ())
    return "".join(calls.values())


def _call(name: str, source: str) -> str:
    """Return a module as a function that is called once."""
    body = _IMPORT.sub(lambda found: _taken(found[1] or "", _imported(name, found[2])), source)
    exports = ", ".join(_EXPORT.findall(body))
    inner = f"{_EXPORT.sub('', body)}return {{ {exports} }};"
    return f"// {name}\nconst {_variable(name)} = (() => {{\n{inner}\n}})();\n"


def _taken(names: str, module: str) -> str:
    """Return the line that takes what an `import` names from a module that is there already."""
    if not names:
        return ""
    return f"const {names.removeprefix('* as ').replace(' as ', ': ')} = {_variable(module)};\n"


def _imported(importer: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))


def _variable(module: str) -> str:
    return "from_" + re.sub(r"\W", "_", module)
