"""A comparison's page in a real browser: it opens as a file, and shows the maps as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsing import NARROW, WIDE, Document
from support.compared_runs import LENGTH, TOKENS, wandering, write_wandering
from support.maps import encoded, write_run

from attnmon_renderer.commands import main
from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, LEVELS, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import rounded_top

pytestmark = pytest.mark.browser

STEM, STEP, HEAD = "decoder_layer1_self_attn", 1100, 2
ORDER = [1, 2, 3, 4, 5, 0]
"""Head `ORDER[i]` of the first run is head i of the second, but for its wobble."""


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
def page(browser: Any, compared: Path, request: pytest.FixtureRequest) -> Iterator[Document]:
    found = Document(browser, compared, *request.param)
    found.shown(STEP, "B")
    yield found
    assert found.overflow() <= 0
    found.end()


def stored(seed: int, head: int) -> np.ndarray[Any, Any]:
    codes, scale = encoded(wandering(seed)[STEP][STEM].astype(np.float64))
    return np.asarray(scale[head] * np.square(codes[head] / 255))


def share_of_equal(page: Document, name: str, levels: Any, palette: Any, grey: int) -> float:
    """Returns how many of the cells have the colour of their level, or the grey of masked ones."""
    expected = palette.colours[np.minimum(LEVELS - 1, np.floor(levels * LEVELS)).astype(int)]
    expected[np.triu_indices(LENGTH, 1)] = grey
    return float((np.array(page.cells(map_name=name)) == expected).all(-1).mean())


def look_at(page: Document, which: str) -> None:
    """Looks at the head: beside that of its number, or beside the one that resembles it most."""
    page.page.click("summary >> text=Each head, as numbered")
    row = f"tr:has(td:text-is('decoder self 1')):has(td:nth-child(2):text-is('{HEAD}'))"
    page.page.click(f"{row} >> button:text-is('{which}')")
    partner = ORDER.index(HEAD) if which == "matched" else HEAD
    ready = "([name, head]) => document.querySelector(`[data-map=${name}]`).content.value.map.head === head"  # noqa: E501
    page.until(ready, ["A", str(HEAD)])
    page.until(ready, ["B", str(partner)])


def test_the_maps_of_a_head_its_partner_and_their_difference_are_painted(page: Document) -> None:
    look_at(page, "matched")
    assert page.page.locator(".matrix button[aria-pressed=true]").count() == 1
    assert f"head {ORDER.index(HEAD)}" in page.text(".slot:has([data-map=B]) h3")
    a, b = stored(1, HEAD), stored(2, HEAD)
    is_dark = page.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    top = rounded_top(max(a.max(), b.max()))
    for name, weights in (("A", a), ("B", b)):
        grey = 82 if is_dark else WEIGHT_PALETTE.masked_index
        assert share_of_equal(page, name, np.sqrt(weights / top), WEIGHT_PALETTE, grey) > 0.97
    change = (b - a) / rounded_top(np.abs(b - a).max())
    levels = (np.sign(change) * np.sqrt(np.abs(change)) + 1) / 2
    grey = 82 if is_dark else CHANGE_PALETTE.masked_index
    assert share_of_equal(page, "change", levels, CHANGE_PALETTE, grey) > 0.97


def test_a_cell_is_read_in_both_by_pointer_and_by_keys(page: Document) -> None:
    look_at(page, "numbered")
    a, b = stored(1, HEAD), stored(2, ORDER[HEAD])
    page.point(9, 3, "change")
    assert page.text(".spot b") == "query 9 “word9” → key 3 “word3”"
    told = page.text(".spot .weight").replace("−", "-").split(" · ")
    values = [float(part.split()[-1]) for part in told]
    assert values == pytest.approx([a[9, 3], b[9, 3], b[9, 3] - a[9, 3]], rel=0.01, abs=6e-5)
    page.page.evaluate("document.querySelector('[data-map=change]').focus({preventScroll: true})")
    page.press("Alt+d")
    assert page.text(".spot b") == "query 9 “word9” → key 4 “word4”"


def test_every_head_has_a_cell_that_leads_to_its_maps(page: Document) -> None:
    assert page.page.locator(".matrix button").count() == 12
    page.page.click(".matrix button[aria-label^='decoder self 0 · head 4: entropy']")
    page.until("document.querySelector('[data-map=A]').content.value.map.head === '4'")
    assert page.text("[aria-label=layer] option:checked") == "decoder self 0"
    assert "differs in these two runs" in page.text(".verdict")
    cells = page.page.locator("section:has(h2:text-is('Settings that differ')) td")
    assert cells.all_inner_texts() == ["config.lr", "1", "2"]
    assert page.page.locator("svg.curves").count() == 3
