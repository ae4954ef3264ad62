"""The files of the page, read once: their addresses change when any of them does.

Its modules are sent as one, so that a page is there after a few requests instead of forty.
"""

from hashlib import sha256
from pathlib import Path

from attnmon_renderer.html_parts import joined
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
