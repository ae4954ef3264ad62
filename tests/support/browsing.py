"""Looks at the page in a real browser: Debian's Chromium, driven by Playwright."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.served import Served

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
WAIT_MS = 30_000
WIDE, NARROW = (1280, 800), (390, 844)

_REPORTS = """
  window.reports = [];
  addEventListener("securitypolicyviolation", (event) =>
    reports.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

_CELLS = """(map) => {
  const { frame, content } = map;
  const { layer } = content.value.map;
  const fine = devicePixelRatio;
  const pen = map.canvas.getContext("2d");
  const at = (query, key) => [...pen.getImageData(
    Math.round(frame.x(key) * fine), Math.round(frame.y(query) * fine), 1, 1).data.slice(0, 3)];
  return Array.from({ length: layer.rows }, (_, row) =>
    Array.from({ length: layer.columns }, (_, column) =>
      at((row + 0.5) * layer.query_step, (column + 0.5) * layer.key_step)));
}"""


def why_no_browser() -> str:
    """Returns why nothing can be looked at; empty if it can."""
    if find_spec("playwright") is None:
        return "playwright is not installed"
    return "" if CHROMIUM.exists() else f"there is no {CHROMIUM}: `make test-browser` installs it"


@contextmanager
def started() -> Iterator[Any]:
    """Starts the browser, and ends it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=list(FLAGS), handle_sigint=False
        )
        yield browser
        browser.close()


@dataclass
class Look:
    """A page of a server, and what went wrong in it."""

    page: Any
    server: Served | None
    wrong: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Texts of errors that a test causes on purpose."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WAIT_MS)
        self.page.add_init_script(_REPORTS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(f"page error: {error}"))
        self.page.on("request", self._requested)
        self.page.on("response", self._answered)
        self.page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status} for {response.url}")

    def _requested(self, request: Any) -> None:
        where = urlsplit(request.url)
        assert self.server is not None
        if where.netloc != self.server.address.netloc and where.scheme not in ("data", "blob"):
            self.wrong.append(f"foreign request: {request.url}")

    def open(self, query: str = "", path: str = "/") -> None:
        """Opens an address with the token, and waits until something is painted."""
        assert self.server is not None
        token = f"{self.server.address.query}&" if query else self.server.address.query
        base = f"http://{self.server.address.netloc}{path}"
        self.page.goto(f"{base}?{token}{query}", wait_until="commit")

    def shown(self, step: int | None = None, map_name: str = "A") -> Any:
        """Waits until a map is painted, of this step if one is named, and returns its element."""
        said = "" if step is None else f'[aria-label*="step {step:,}"]'
        self.page.wait_for_selector(f'attn-map[data-map="{map_name}"] canvas{said}')
        found = self.page.wait_for_selector(f'attn-map[data-map="{map_name}"]')
        self.until("(map) => map.frame !== null", found)
        return found

    def cells(self, step: int | None = None, map_name: str = "A") -> list[list[list[int]]]:
        """Returns the colour in the middle of each cell, [rows, columns, 3]."""
        colours: list[list[list[int]]] = self.page.evaluate(_CELLS, self.shown(step, map_name))
        return colours

    def point(self, query: int, key: int, map_name: str = "A") -> None:
        """Moves the pointer over the middle of a position."""
        found = self.shown(None, map_name)
        place = "(map, [q, k]) => [map.frame.x(k + 0.5), map.frame.y(q + 0.5)]"
        x, y = found.evaluate(place, [query, key])
        box = found.bounding_box()
        self.page.mouse.move(box["x"] + x, box["y"] + y)

    def text(self, selector: str) -> str:
        found: str = self.page.inner_text(selector)
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def until(self, script: str, argument: Any = None) -> None:
        """Waits until a script of the page returns something true.

        Playwright's own way to wait evaluates text in the page, which its policy forbids.
        """
        deadline = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(script, argument):
            assert time.monotonic() < deadline, f"in vain: {script} at {self.page.url}"
            self.page.wait_for_timeout(10)

    def query(self, *parts: str) -> None:
        """Waits until the address says all of these."""
        wanted = " && ".join(f"location.search.includes({part!r})" for part in parts)
        self.until(wanted)

    def overflow(self) -> int:
        """Returns by how many pixels the page is wider than the window."""
        found: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    def end(self) -> None:
        """Closes the page, if nobody has yet, and fails if anything was wrong in it."""
        if self.page.is_closed():
            return
        reports = [f"policy: {each}" for each in self.page.evaluate("window.reports ?? []")]
        self.page.context.close()
        wrong = [
            each for each in [*self.wrong, *reports]
            if not any(text in each for text in self.expected)
        ]  # fmt: skip
        if wrong:
            pytest.fail("in the browser: " + "; ".join(wrong), pytrace=False)


class Document(Look):
    """A file in a tab: it may ask for nothing at all."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int], theme: str) -> None:
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme
        )
        super().__init__(context.new_page(), None)
        self.page.goto(path.as_uri())

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "data:")):
            self.wrong.append(f"request: {request.url}")

    def point(self, query: int, key: int, map_name: str = "A") -> None:
        """Moves the pointer over the middle of a position, which is scrolled to first."""
        self.shown(None, map_name).evaluate("(map) => map.scrollIntoView()")
        super().point(query, key, map_name)
