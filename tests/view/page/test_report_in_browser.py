"""A report in a real browser: it opens as a file, loads nothing, and shows the maps as they are."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsing import NARROW, WIDE
from support.maps import encoded, random_weights, write_run

from attnmon_renderer.commands import main
from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, LEVELS, WEIGHT_PALETTE

pytestmark = pytest.mark.browser

SELF, CROSS = "decoder_layer0_self_attn", "decoder_layer1_cross_attn"
MASKED = {"light": 228, "dark": 82}
_WATCHED = """
  window.reports = [];
  addEventListener("securitypolicyviolation", (event) => reports.push(event.violatedDirective));
"""


def layers(step: int) -> dict[str, Any]:
    return {
        SELF: random_weights(2, 12, 12, step, causal=True),
        CROSS: random_weights(3, 12, 9, step + 50),
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    tokens = {"encoder": [*"<&\"'>efgh"], "decoder": [*"defaultvalue"]}
    write_run(folder, {step: layers(step) for step in (0, 100, 200)}, tokens=tokens)
    assert main(["report", str(folder)]) == 0
    return folder / "report.html"


class Opened:
    """A report in a tab, and all that was wrong in it."""

    def __init__(self, page: Any, report: Path) -> None:
        self.page, self.wrong = page, list[str]()
        page.add_init_script(_WATCHED)
        page.on("console", lambda message: self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.requested(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("#map-heads button")

    def requested(self, url: str) -> None:
        if not url.startswith(("file:", "blob:", "data:")):
            self.wrong.append(url)

    def choose(self, name: str, value: str) -> None:
        self.page.select_option(f"#map-{name}", value)

    def go_to(self, index: int) -> None:
        self.page.evaluate(
            "(index) => { const slider = document.getElementById('map-step');"
            " slider.value = index; slider.dispatchEvent(new Event('input')); }",
            index,
        )

    def until(self, script: str) -> None:
        for _ in range(500):
            if self.page.evaluate(script):
                return
            self.page.wait_for_timeout(10)
        pytest.fail(f"in vain: {script}")

    def colours(self, stem: str, head: int) -> np.ndarray[Any, Any]:
        """Returns the pixels of a small map, [rows, columns, 3]."""
        width, height, found = self.page.evaluate(
            "([stem, head]) => { const canvas = document.querySelector("
            "  `button[data-stem='${stem}'][data-head='${head}'] canvas`);"
            " const { width, height } = canvas; const pen = canvas.getContext('2d');"
            " return [width, height, [...pen.getImageData(0, 0, width, height).data]]; }",
            [stem, head],
        )
        return np.reshape(found, (height, width, 4))[..., :3]

    def readout(self) -> str:
        text: str = self.page.inner_text("#map-readout")
        return text


@pytest.fixture(params=[(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def opened(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    (width, height), theme = request.param
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=theme)
    found = Opened(context.new_page(), report)
    yield found
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert found.page.evaluate(overflow) <= 0
    assert found.page.evaluate("window.reports") == []
    assert found.wrong == []
    context.close()


def decoded(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    codes, scale = encoded(weights.astype(np.float64))
    return np.asarray(scale[:, None, None] * np.square(codes / 255))


def test_colours_and_readout_are_those_of_the_stored_map(opened: Opened) -> None:
    opened.choose("group", "decoder self")
    opened.choose("colours", "one")
    opened.go_to(1)
    opened.until("document.getElementById('map-canvas').ariaLabel.includes('step 100')")
    weights = decoded(layers(100)[SELF])
    is_dark = opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    levels = np.minimum(LEVELS - 1, np.floor(np.sqrt(weights[1]) * LEVELS)).astype(int)
    expected = WEIGHT_PALETTE.colours[levels].astype(int)
    expected[np.triu_indices(12, 1)] = MASKED["dark" if is_dark else "light"]
    assert opened.colours(SELF, 1).tolist() == expected.tolist()
    opened.page.click(f"button[data-stem='{SELF}'][data-head='1']")
    opened.until("document.getElementById('map-title').textContent.endsWith('head 1')")
    opened.page.focus("#map-canvas")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        opened.page.keyboard.press(key)
    places, _, value = opened.readout().rpartition(": ")
    assert places == "query 2 “f” → key 1 “e”"
    assert float(value) == pytest.approx(weights[1, 2, 1], rel=0.005)
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowRight")
    assert opened.readout() == "query 2 “f” → key 3 “a”: masked"


def test_the_difference_of_two_steps_is_that_of_their_weights(opened: Opened) -> None:
    opened.choose("against", "first")
    opened.choose("colours", "one")
    opened.until("document.getElementById('map-note').textContent.includes('of the same text')")
    change = decoded(layers(200)[CROSS])[2] - decoded(layers(0)[CROSS])[2]
    places = (np.sign(change) * np.sqrt(np.abs(change)) + 1) / 2
    levels = np.minimum(LEVELS - 1, np.floor(places * LEVELS)).astype(int)
    found = opened.colours(CROSS, 2)
    assert (found == CHANGE_PALETTE.colours[levels]).all(-1).mean() > 0.97, "but for rounding"
    opened.page.click(f"button[data-stem='{CROSS}'][data-head='2']")
    opened.until("document.getElementById('map-title').textContent.endsWith('head 2')")
    canvas = opened.page.locator("#map-canvas")
    canvas.hover(position={"x": canvas.bounding_box()["width"] - 6, "y": 12})
    before, _, rest = opened.readout().partition(": ")
    assert before == "query 0 “d” → key 8 “h”"
    amount = rest.rpartition(" ")[2].replace("−", "-")
    assert math.isclose(float(amount), change[0, 8], rel_tol=0.01, abs_tol=1e-5)
