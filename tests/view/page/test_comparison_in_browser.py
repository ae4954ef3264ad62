"""A comparison's page in a real browser: it opens as a file, and shows the maps as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsing import NARROW, WIDE
from support.compared_runs import LENGTH, TOKENS, wandering, write_wandering
from support.maps import encoded, write_run

from attnmon_renderer.commands import main
from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, LEVELS, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import rounded_top

pytestmark = pytest.mark.browser

STEM, STEP, HEAD = "decoder_layer1_self_attn", 1100, 2
ORDER = [1, 2, 3, 4, 5, 0]
"""Head `ORDER[i]` of the first run is head i of the second, but for its wobble."""
_WATCHED = """
  window.reports = [];
  addEventListener("securitypolicyviolation", (event) => reports.push(event.violatedDirective));
"""
_PIXELS = """(id) => {
  const canvas = document.getElementById(id), { width, height } = canvas;
  return [...canvas.getContext("2d").getImageData(0, 0, width, height).data];
}"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    other = {
        step: {stem: each[ORDER] for stem, each in layers.items()}
        for step, layers in wandering(2).items()
    }
    first = write_wandering(folder / "first", 1, config={"lr": 1})
    second = write_run(folder / "second", other, tokens=TOKENS, config={"lr": 2})
    assert main(["compare", str(first), str(second), "-o", str(folder / "page.html")]) == 0
    return folder / "page.html"


@pytest.fixture(params=[(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def page(browser: Any, compared: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    (width, height), theme = request.param
    size = {"width": width, "height": height}
    context = browser.new_context(viewport=size, color_scheme=theme)
    page, wrong = context.new_page(), list[str]()
    page.add_init_script(_WATCHED)
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith("file:") or wrong.append(asked.url))
    page.goto(compared.as_uri())
    yield page
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    assert page.evaluate("window.reports") == []
    assert wrong == []
    context.close()


def stored(seed: int, head: int) -> np.ndarray[Any, Any]:
    codes, scale = encoded(wandering(seed)[STEP][STEM].astype(np.float64))
    return np.asarray(scale[head] * np.square(codes[head] / 255))


def colours(page: Any, name: str) -> np.ndarray[Any, Any]:
    return np.reshape(page.evaluate(_PIXELS, name), (LENGTH, LENGTH, 4))[..., :3]


def share_of_equal(found: np.ndarray[Any, Any], levels: Any, page: Any, palette: Any) -> float:
    """Returns how many of the cells have the colour of their level, or the grey of masked ones."""
    is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    expected = palette.colours[np.minimum(LEVELS - 1, np.floor(levels * LEVELS)).astype(int)]
    expected[np.triu_indices(LENGTH, 1)] = 82 if is_dark else palette.masked_index
    return float((found == expected).all(-1).mean())


def test_the_maps_of_a_head_its_partner_and_their_difference_are_painted(page: Any) -> None:
    page.click(f"button[aria-label^='decoder self 1 · head {HEAD}: entropy']")
    page.select_option("#pairing", "matched")
    assert page.input_value("#layer") == "1"
    assert f"B · decoder self 1 · head {ORDER.index(HEAD)}" in page.inner_text("#name-b")
    a, b = stored(1, HEAD), stored(2, HEAD)
    top = rounded_top(max(a.max(), b.max()))
    for name, weights in (("map-a", a), ("map-b", b)):
        levels = np.sqrt(weights / top)
        assert share_of_equal(colours(page, name), levels, page, WEIGHT_PALETTE) > 0.97
    change = (b - a) / rounded_top(np.abs(b - a).max())
    levels = (np.sign(change) * np.sqrt(np.abs(change)) + 1) / 2
    assert share_of_equal(colours(page, "map-d"), levels, page, CHANGE_PALETTE) > 0.97
    assert "bits" in page.inner_text("#distance")


def test_a_cell_is_read_by_pointer_and_by_keys(page: Any) -> None:
    page.select_option("#layer", "1")
    page.select_option("#head", str(HEAD))
    a, b = stored(1, HEAD), stored(2, ORDER[HEAD])
    box = page.locator("#map-d").bounding_box()
    size = box["height"] / LENGTH
    page.hover("#map-d", position={"x": 3.5 * size, "y": 9.5 * size})
    words = page.inner_text("#spot").replace("−", "-")
    assert words.startswith("query 9 “word9” → key 3 “word3”: ")
    told = [float(part.split()[-1]) for part in words.partition(": ")[2].split(" · ")]
    assert told == pytest.approx([a[9, 3], b[9, 3], b[9, 3] - a[9, 3]], rel=0.01, abs=1e-5)
    page.focus("#map-a")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#spot") == "query 9 “word9” → key 10 “word10”: masked"


def test_every_head_has_a_cell_and_one_is_chosen(page: Any) -> None:
    assert page.input_value("#statistic") == "entropy"
    pressed = page.locator(".matrix button[aria-pressed=true]")
    assert pressed.count() == 1
    assert page.locator(".matrix button").count() == 12
    assert "differs in these two runs" in page.inner_text(".verdict")
    assert page.locator(".settings td").all_inner_texts() == ["config.lr", "1", "2"]
