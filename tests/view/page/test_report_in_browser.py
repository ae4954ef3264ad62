"""A report in a real browser: it opens as a file, loads nothing, and shows the maps as they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsing import NARROW, WIDE, Document
from support.maps import encoded, random_weights, write_run

from attnmon_renderer.commands import main
from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, LEVELS, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import rounded_top

pytestmark = pytest.mark.browser

SELF, CROSS = "decoder_layer0_self_attn", "decoder_layer1_cross_attn"
SMALL_IS = """([stem, colours]) => {
  const grid = document.querySelector("attn-heads"), { sheet } = grid;
  const place = grid.cells.get(`${stem} 2`).place.getBoundingClientRect();
  const box = sheet.getBoundingClientRect(), fine = sheet.width / box.width;
  const pen = sheet.getContext("2d"), [rows, columns] = [colours.length, colours[0].length];
  let alike = 0;
  colours.forEach((line, row) => line.forEach((colour, column) => {
    const x = (place.x - box.x + ((column + 0.5) * place.width) / columns) * fine;
    const y = (place.y - box.y + ((row + 0.5) * place.height) / rows) * fine;
    alike += String([...pen.getImageData(x, y, 1, 1).data.slice(0, 3)]) === String(colour);
  }));
  return alike > 0.9 * rows * columns;
}"""
"""Whether the small map of head 2 has these colours, but for rounding."""
MASKED = {"light": 228, "dark": 82}


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


@pytest.fixture(params=[(WIDE, "light"), (NARROW, "dark")], ids=["wide", "narrow"])
def opened(browser: Any, report: Path, request: pytest.FixtureRequest) -> Iterator[Document]:
    found = Document(browser, report, *request.param)
    found.page.wait_for_selector("attn-film button")  # the last that takes its place
    yield found
    assert found.overflow() <= 0
    found.end()


def decoded(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    codes, scale = encoded(weights.astype(np.float64))
    return np.asarray(scale[:, None, None] * np.square(codes / 255))


def choose(opened: Document, stem: str, head: str) -> None:
    opened.page.select_option("select[aria-label=layer]", stem)
    opened.until(
        "(stem) => document.querySelector('attn-map').content.value.map.layer.stem === stem", stem
    )
    opened.page.select_option("select[aria-label=head]", head)
    opened.until(
        "(head) => document.querySelector('attn-map').content.value.map.head === head", head
    )


def test_colours_and_facts_are_those_of_the_stored_map(opened: Document) -> None:
    choose(opened, SELF, "1")
    opened.page.click("button[title^='the capture before']")
    weights = decoded(layers(100)[SELF])[1]
    found = np.array(opened.cells(100))
    top = rounded_top(weights.max())
    levels = np.minimum(LEVELS - 1, np.floor(np.sqrt(weights / top) * LEVELS)).astype(int)
    expected = WEIGHT_PALETTE.colours[levels].astype(int)
    is_dark = opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    expected[np.triu_indices(12, 1)] = MASKED["dark" if is_dark else "light"]
    assert found.tolist() == expected.tolist()
    opened.point(2, 1)
    assert opened.text(".spot b") == "query 2 “f” → key 1 “e”"
    assert float(opened.text(".spot .weight")) == pytest.approx(weights[2, 1], abs=6e-5)
    opened.point(2, 3)
    assert opened.text(".spot .weight").startswith("masked")


def test_the_difference_of_two_steps_is_that_of_their_weights(opened: Document) -> None:
    choose(opened, CROSS, "2")
    opened.page.select_option("select[aria-label='what to compare with']", "first")
    opened.page.click("button[title^='show B−A']")
    a, b = (decoded(layers(step)[CROSS])[2] for step in (0, 200))
    change = (b - a) / rounded_top(np.abs(b - a).max())
    levels = np.minimum(
        LEVELS - 1, np.floor((np.sign(change) * np.sqrt(np.abs(change)) + 1) / 2 * LEVELS)
    )
    expected = CHANGE_PALETTE.colours[levels.astype(int)]
    found = np.array(opened.cells(map_name="change"))
    assert (found == expected).all(-1).mean() > 0.97, "but for rounding"
    opened.page.select_option("select[aria-label='colour scale']", "own")
    opened.until(SMALL_IS, [CROSS, expected.tolist()])
    opened.point(0, 8, "change")
    assert opened.text(".spot b") == "query 0 “d” → key 8 “h”"
    told = opened.text(".spot .weight").replace("−", "-").split(" · ")
    values = [float(part.split()[-1]) for part in told]
    assert values == pytest.approx([a[0, 8], b[0, 8], b[0, 8] - a[0, 8]], rel=0.01, abs=6e-5)


def test_the_mean_small_maps_and_keys_are_as_on_the_live_page(opened: Document) -> None:
    mean = decoded(layers(200)[CROSS]).mean(0)
    found = opened.page.evaluate("[...document.querySelector('attn-map').content.value.values]")
    assert found == pytest.approx(mean.ravel().tolist(), abs=0.004 * mean.max())
    assert opened.page.locator("attn-film button").count() == 3
    sheet = "document.querySelector('.sheet').getContext('2d')"
    opened.until(f"{sheet}.getImageData(0, 0, 9999, 999).data.some((value) => value > 0)")
    opened.press("ArrowLeft")
    assert opened.text(".step") == "step 200", "keys outside are the document's own"
    opened.page.focus("attn-map")
    opened.press("ArrowLeft")
    opened.shown(100)
