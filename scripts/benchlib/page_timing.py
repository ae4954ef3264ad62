"""Times what the page of `attnmon view` shows, in Debian's Chromium."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip

# Notes when a map with another label was painted, and when each thumbnail was.
NOTES = """
  const now = () => performance.timeOrigin + performance.now();
  window.maps = [];
  window.thumbs = [];
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (image, ...rest) {
    draw.call(this, image, ...rest);
    if (this.canvas.closest("attn-heads")) thumbs.push(now());
  };
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const step = /step ([\\d,]+)/.exec(target.getAttribute("aria-label"));
      if (target.localName === "canvas" && step) {
        requestAnimationFrame(() => maps.push([Number(step[1].replaceAll(",", "")), now()]));
      }
    }
  }).observe(document, { subtree: true, attributeFilter: ["aria-label"] });
"""

# As fast as each is painted: the next capture.
SLIDE = """async (count) => {
  const begin = performance.now();
  for (let done = 0; done < count; done++) {
    const before = maps.length;
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    while (maps.length === before) await new Promise(requestAnimationFrame);
  }
  return (1000 * count) / (performance.now() - begin);
}"""


def why_no_browser() -> str:
    """Return why nothing can be measured; empty if it can."""
    missing = [name for name in ("playwright", "starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        return f"{missing[0]} is not installed"
    return "" if Path(CHROMIUM).exists() else f"there is no {CHROMIUM}"


@contextmanager
def viewed(folder: Path) -> Iterator[str]:
    """Serve a directory; gives the address to open."""
    command = [sys.executable, "-m", "attnmon", "view", str(folder), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None, "the server did not start"
        yield found[0]
    finally:
        server.terminate()
        server.wait()


@contextmanager
def browser() -> Iterator[Any]:
    """Start the browser, and end it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        started.close()


def opened(browser: Any, address: str, query: str = "") -> tuple[Any, float]:
    """Open an address in an empty window; returns the page, and when it was asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.add_init_script(NOTES)
    asked = time.time()
    page.goto(f"{address}&{query}", wait_until="commit")
    return page, asked


def wait_for(page: Any, script: str, seconds: float = 60) -> None:
    """Wait until a script of the page returns something true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(script):
        if time.monotonic() > deadline:
            raise TimeoutError(script)
        page.wait_for_timeout(5)


def painting(browser: Any, address: str, heads: int) -> dict[str, float]:
    """Return seconds to the first map, and to all thumbnails from then and at another step."""
    page, asked = opened(browser, address, "step=0")
    wait_for(page, f"maps.length > 0 && thumbs.length >= {heads}")
    first, thumbs = page.evaluate("[maps[0][1], thumbs]")
    page.evaluate("thumbs.length = 0")
    pressed = time.time()
    page.keyboard.press("ArrowRight")
    wait_for(page, f"thumbs.length >= {heads}")
    again = page.evaluate(f"thumbs[{heads - 1}]")
    page.close()
    return {
        "first_paint": first / 1000 - asked,
        "thumbnails_at_first": thumbs[heads - 1] / 1000 - asked,
        "thumbnails_of_another_step": again / 1000 - pressed,
    }


def sliding(browser: Any, address: str, captures: int) -> float:
    """Return how many captures a second are painted that were never loaded before."""
    page, _ = opened(browser, address, "step=0")
    wait_for(page, "maps.length > 0")
    page.wait_for_timeout(1000)
    speed: float = page.evaluate(SLIDE, captures - 2)
    page.close()
    return speed


def following(browser: Any, address: str, history: Path, captures: int) -> list[float]:
    """Return the seconds from each line of a history that grows to its map in the page.

    Or to a newer one: of two captures that come together the page shows the last.
    """
    page, _ = opened(browser, address)
    wait_for(page, "maps.length > 0")
    lines = [*history.read_bytes().splitlines()]
    written: dict[int, float] = {}
    last = len(lines)
    while len(written) < captures:
        now = time.time()
        content = history.read_bytes().splitlines()
        for line in content[last:]:
            step = re.search(rb'"step": ?(-?\d+)', line)
            assert step is not None
            written[int(step[1])] = now
        last = len(content)
        page.wait_for_timeout(4)
    page.wait_for_timeout(3000)
    painted = page.evaluate("maps")
    page.close()
    seen = {step: [when for shown, when in painted if shown >= step] for step in written}
    return [min(seen[step]) / 1000 - at for step, at in written.items() if seen[step]]
