"""The files of the page, read once: their addresses change when any of them does.

Its modules are sent as one, so that a page is there after a few requests instead of forty.
"""

import posixpath
import re
from hashlib import sha256
from pathlib import Path

from attnmon_renderer.storage import regular_files
from attnmon_renderer.view.answer import IMMUTABLE, NOT_STORED, Answer, Refused

FOLDER = Path(__file__).parent / "page"
START = "index.html"
FIRST_MODULE = "start.js"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_IMPORT = re.compile(r'^import (?:(.+) from |)"(.+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:class|const|function) (\w+))", re.MULTILINE)


class PageFiles:
    """What a browser loads to show the page."""

    def __init__(self, folder: Path = FOLDER) -> None:
        files = _read_all(regular_files.resolved(folder), "")
        modules = {name: files.pop(name).decode() for name in [*files] if name.endswith(".js")}
        if FIRST_MODULE in modules:
            files[FIRST_MODULE] = joined(modules, FIRST_MODULE).encode()
        self._files = files
        together = sha256()
        for name, content in sorted(self._files.items()):
            together.update(f"{name}\0{len(content)}\0".encode() + content)
        self.digest = together.hexdigest()[:16]

    def start(self) -> Answer:
        """Return the page itself, which names its parts by their present addresses."""
        content = self._files.get(START, b"")
        return _answer(
            START, content.replace(b'"app/', f'"app/{self.digest}/'.encode()), NOT_STORED
        )

    def part(self, digest: str, name: str) -> Answer:
        """Return a part of the page. Raises `Refused`."""
        if digest != self.digest or name not in self._files:
            raise Refused(404, "no such part of the page; load the page again")
        return _answer(name, self._files[name], IMMUTABLE)


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


def _answer(name: str, content: bytes, cache: str) -> Answer:
    return Answer(content, TYPES[Path(name).suffix], cache=cache)


def _read_all(folder: Path, below: str) -> dict[str, bytes]:
    """Return the content of each file of a known type by its path below the page's folder."""
    found = {
        below + name: regular_files.read(folder / name)
        for name in regular_files.files_in(folder)
        if Path(name).suffix in TYPES
    }
    for name in regular_files.folders_in(folder):
        found |= _read_all(folder / name, f"{below}{name}/")
    return found
