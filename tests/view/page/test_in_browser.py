"""The page in a real browser, with runs that have ended."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from support.browsing import NARROW, WIDE, Look
from support.maps import encoded, pooled, random_weights, write_run
from support.served import served

from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, WEIGHT_PALETTE
from attnmon_renderer.drawing.spec.scales import change_scale, rounded_top, weight_scale

pytestmark = pytest.mark.browser
STEPS = (0, 20, 40, 60)
TEXT = list("defaultvalue")
CROSS, CAUSAL = "decoder_layer1_cross_attn", "decoder_layer0_self_attn"
MakeLook = Callable[..., Look]
Ids = dict[str, str]
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}
GREY = {"light": WEIGHT_PALETTE.masked_index, "dark": 82}


def stored(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Returns the weights that the codes of one head stand for, in float64."""
    codes, scale = encoded(weights.astype(np.float64)[None])
    return np.float64(scale[0]) * (codes[0] / 255) ** 2


def cross(step: int, head: int, seed: int = 0) -> np.ndarray[Any, Any]:
    weights: np.ndarray[Any, Any] = random_weights(3, 12, 9, seed + step + 4)[head]
    return weights


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_cells_have_the_renderers_colours(look: MakeLook, ids: Ids, scheme: str) -> None:
    page = look(scheme=scheme)
    page.open(f"run={ids['first']}&layer={CROSS}&head=2&step=40")
    weights = stored(cross(40, 2))
    scale = weight_scale(rounded_top(weights.max()))
    expected = WEIGHT_PALETTE.colours[scale.indices(weights, np.zeros_like(weights, bool))]
    assert np.array_equal(page.cells(40), expected)
    page.press("ArrowLeft")
    page.shown(20)
    page.press("ArrowRight")
    assert np.array_equal(page.cells(40), expected), "painted once more"
    page.open(f"run={ids['first']}&layer={CAUSAL}&head=1&step=0&scale=0.5")
    weights = stored(random_weights(3, 12, 12, 2, causal=True)[1])
    masked = ~np.tri(12, 12, dtype=bool)
    expected = WEIGHT_PALETTE.colours[weight_scale(0.5).indices(weights, masked)]
    expected[masked] = GREY[scheme]
    assert np.array_equal(page.cells(0), expected)
    assert np.array_equal(thumbnail(page, "decoder self layer 0, head 1", 12), expected)
    assert "masked" in page.text("attn-map[data-map=A] + attn-bar")


_THUMBNAIL = """([title, side]) => {
  const place = document.querySelector(`.thumb[title^="${title}"] i`).getBoundingClientRect();
  const sheet = document.querySelector(".sheet");
  const { left, top } = sheet.getBoundingClientRect();
  const pen = sheet.getContext("2d");
  const at = (cell, size) => (cell + 0.5) * size / side;
  return Array.from({ length: side }, (_, row) => Array.from({ length: side }, (_, column) =>
    [...pen.getImageData(place.left - left + at(column, place.width),
      place.top - top + at(row, place.height), 1, 1).data.slice(0, 3)]));
}"""


def thumbnail(page: Look, title: str, side: int) -> list[list[list[int]]]:
    """Returns the colour in the middle of each cell of a head's small map, [rows, columns, 3]."""
    page.page.wait_for_selector(f".thumb[title^='{title}']")
    page.until("document.querySelector('.sheet').width > 300")
    colours: list[list[list[int]]] = page.page.evaluate(_THUMBNAIL, [title, side])
    return colours


def test_a_difference_has_the_renderers_colours(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}&layer={CROSS}&head=0&step=60&view=both&against=first")
    before, after = stored(cross(0, 0)), stored(cross(60, 0))
    change = after - before
    scale = change_scale(rounded_top(np.abs(change).max()))
    expected = CHANGE_PALETTE.colours[scale.indices(change, np.zeros_like(change, bool))]
    assert np.array_equal(page.cells(None, "change"), expected)
    shared = weight_scale(rounded_top(max(before.max(), after.max())))
    for name, weights in (("A", before), ("B", after)):
        expected = WEIGHT_PALETTE.colours[shared.indices(weights, np.zeros_like(change, bool))]
        assert np.array_equal(page.cells(None, name), expected)
    page.point(3, 5, "B")
    a, b = (f"{each[3, 5]:.4f}" for each in (before, after))
    assert f"A {a} · B {b} · B−A" in page.text(".weight")
    assert "apart (mean Jensen–Shannon of the rows) · head of B: entropy" in page.text("attn-facts")
    page.open(f"run={ids['first']}&layer={CAUSAL}&head=0&step=60&view=both&against=first")
    assert page.cells(None, "change")[0][5] == [CHANGE_PALETTE.masked_index] * 3, "not white"
    page.press("d")
    page.page.wait_for_selector("attn-maps h3 >> text=head 0 · B (step 60) − A (step 0)")


def test_the_value_pointed_at_is_the_cells(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}&layer={CROSS}&head=1&step=20")
    true, weights = cross(20, 1), stored(cross(20, 1))
    for query, key in ((0, 0), (11, 8), tuple(np.argwhere(weights == weights.max())[0])):
        page.point(int(query), int(key))
        page.until("document.querySelector('.weight') !== null")
        words = page.text("attn-facts")
        assert f"query {query} “{TEXT[query]}” → key {key} “{TEXT[key]}”" in words
        value = float(page.text(".weight"))
        assert value == pytest.approx(weights[query, key], abs=5e-5)
        assert abs(value - true[query, key]) <= 0.004 * true.max() + 5e-5
    exact = page.page.evaluate("[...document.querySelector('attn-map').content.value.values]")
    assert np.array_equal(np.reshape(exact, (12, 9)), weights)
    painted = page.page.query_selector_all("attn-tokens .tokens span")
    assert [each.inner_text() for each in painted] == TEXT[:9]
    colours = [each.evaluate("(it) => it.style.backgroundColor") for each in painted]
    scale = weight_scale(rounded_top(weights.max()))
    indices = scale.indices(weights[query], np.zeros(9, bool))
    assert colours == [f"rgb({r}, {g}, {b})" for r, g, b in WEIGHT_PALETTE.colours[indices]]


def test_a_pooled_map_says_so(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['long']}&head=1")
    page.shown(0)
    assert "a cell is 3 × 3 positions" in page.text("attn-maps .note")
    cells, _ = pooled(random_weights(2, 300, 300, causal=True), 128)
    page.point(200, 100)
    assert float(page.text(".weight")) == pytest.approx(stored(cells[1])[66, 33], abs=5e-5)
    assert "query 198–200 → key 99–101" in page.text("attn-facts")
    true = random_weights(2, 300, 300, causal=True)[1]
    assert f"strongest key {true[198].argmax()}\n" in page.text("attn-facts") + "\n"
    page.point(100, 200)
    assert "masked" in page.text(".weight")
    received = pooled(random_weights(2, 300, 300, causal=True), 128)[0][1].mean(0)
    heights = page.page.evaluate(_BARS, page.shown(0))
    assert heights == pytest.approx(received / received.max() * 34, abs=1.1)


_BARS = """(map) => {
  const { frame, content } = map;
  const { layer } = content.value.map;
  const { top, height } = frame.box;
  const pen = map.canvas.getContext("2d");
  return Array.from({ length: layer.columns }, (_, column) => {
    const x = Math.round(frame.x((column + 0.4) * layer.key_step));
    const { data } = pen.getImageData(x, Math.ceil(top + height + 2), 1, 36);
    const inks = Array.from({ length: 36 }, (_, y) => data[4 * y + 3]);
    return inks.reduce((a, b) => a + b) / 255 / 0.65;
  });
}"""


def test_everything_can_be_done_with_keys(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}")
    page.shown(60)
    page.press("ArrowLeft")
    page.shown(40)
    page.press("Home", "ArrowRight")
    page.shown(20)
    page.press("End", "l", "k", "]", "]")
    page.query("layer=decoder_layer0_cross_attn", "head=1")
    page.press("j", "[", "s", "c", "c", "d")
    page.query("layer=decoder_layer1_cross_attn", "head=0", "sort=change", "view=both", "scale=")
    page.press("d", "p", "f", "+")
    page.query("view=difference", "against=60", "full=1", "part=")
    page.press("0", "d", "Escape", "Alt+s", "Alt+d", "Alt+d")
    page.until("location.search.includes('part=') === false")
    page.until("document.querySelector('attn-facts b')?.textContent.startsWith('query 0')")
    assert "key 2 “f”" in page.text("attn-facts b")
    page.press("Home")
    page.shown(0)
    page.press(" ")
    page.shown(60)
    page.press("Home", " ", "l")
    page.until("location.search.includes('step=') === false")
    page.shown(60)
    assert "▶" in page.text("attn-steps"), "it plays on"
    page.press("l")
    page.query("step=60")
    page.press("?")
    assert "play, stop" in page.text("dialog")
    page.press("Escape")
    page.page.wait_for_selector("dialog", state="detached")
    page.press("4")
    page.page.wait_for_selector("attn-runs >> text=second")
    page.press("3")
    page.page.wait_for_selector("attn-run >> text=Settings of the monitor")
    page.press("1", "l")
    page.until("location.search.includes('step=') === false")
    page.press("3", "4", "1")
    for screen in ("runs", "run", "live", "run"):
        page.page.go_back()
        page.until("(screen) => document.body.dataset.screen === screen", screen)


def test_the_address_holds_what_is_looked_at(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(
        f"run={ids['first']}&layer={CROSS}&head=2&step=20&view=both&against=first&sort=change"
        "&scale=own&part=2,8,1,7&statistic=entropy"
    )
    before = page.cells(None, "B")
    assert page.text("attn-map[data-map=B]") == ""
    address = page.page.url
    page.press("ArrowRight")
    page.query("step=40", "part=2,8,1,7")
    page.press("ArrowLeft")
    page.query("step=20")
    assert page.page.url == address
    page.page.reload()
    assert page.cells(None, "B") == before
    assert page.page.url == address


def test_curves_are_the_slider(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}")
    page.shown(60)
    slider = page.page.query_selector("[role=slider]")
    box = slider.bounding_box()
    page.page.mouse.click(box["x"] + 60, box["y"] + 40)
    page.shown(0)
    page.page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 40, steps=8)
    page.page.mouse.up()
    page.shown(60)
    assert slider.get_attribute("aria-valuetext") == "step 60"
    assert page.page.query_selector(".curve.loss").get_attribute("d").count("L") == len(STEPS) - 1
    page.page.select_option("[aria-label='axis of the curves']", "time")
    page.query("axis=time")
    page.page.wait_for_selector(".curves .tick >> text=60 s")
    page.page.mouse.click(box["x"] + 60, box["y"] + 40)
    page.shown(0)


def test_no_screen_is_wider_than_the_window_in_either_theme(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}&view=both&head=1")
    page.shown()
    for (width, height), scheme in itertools.product((WIDE, NARROW), PAPER):
        page.page.set_viewport_size({"width": width, "height": height})
        page.page.emulate_media(color_scheme=scheme)
        for key, part in (("3", "attn-run h2"), ("4", "attn-runs h2"), ("1", "attn-map canvas")):
            page.press(key)
            page.page.wait_for_selector(part)
            assert page.overflow() == 0, (width, scheme, part)
        heads = page.page.evaluate("document.querySelector('.heads').clientWidth")
        assert heads > 220 if width > 800 else heads > 300, "all of a narrow window"
        paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == PAPER[scheme]
    page.page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.press("f")
    page.until("document.querySelector('.look').clientWidth > 1200")
    page.page.click("[title^='light, dark']")
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == PAPER["light"], "chosen"


_TITLES_ARE_ABOVE = """() => {
  const boxes = (name) =>
    [...document.querySelectorAll(`.curves .${name}`)].map((each) => each.getBoundingClientRect());
  const frames = boxes("frame");
  return boxes("title").every(({ bottom }, lane) => bottom <= frames[lane].top + 1);
}"""


def test_a_tap_holds_a_cell(look: MakeLook, ids: Ids) -> None:
    page = look(NARROW)
    page.open(f"run={ids['first']}&layer={CROSS}&head=1")
    found = page.shown(60)
    box = found.bounding_box()
    page.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.until("document.querySelector('.weight') !== null")
    page.page.click("text=let go")
    page.until("document.querySelector('.weight') === null")
    page.until("document.querySelectorAll('.curves .title').length === 2")
    assert page.page.evaluate(_TITLES_ARE_ABOVE), "they hide no curve"


def test_a_head_of_which_nothing_was_recorded_says_so(look: MakeLook, ids: Ids) -> None:
    def without_head_1(route: Any) -> None:
        capture = route.fetch().json()
        for layer in capture["layers"]:
            layer["missing"] = [1]
        route.fulfill(json=capture)

    page = look()
    page.page.route(re.compile(r"/captures/[^/]+$"), without_head_1)
    page.open(f"run={ids['first']}&layer={CROSS}&head=1&step=40")
    grey = WEIGHT_PALETTE.colours[GREY["light"]]
    assert (np.array(page.cells(40)) == grey).all()
    page.point(2, 2)
    page.until("document.querySelector('.weight') !== null")
    assert page.text(".weight") == "nothing was recorded of this head"
    assert "nothing was recorded of head 1" in page.text("attn-maps .note")
    page.page.wait_for_selector(".thumb.missing[title*='head 1']")
    assert page.page.query_selector(".thumb.missing[title*='head 2']") is None
    page.page.unroute_all(behavior="wait")  # a request may be on its way when the page is closed


def test_an_alert_leads_to_its_map(look: MakeLook, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {step: {CROSS: cross_of(step)} for step in STEPS})
    alert = {
        "id": "a-1", "rule": "logit_growth", "severity": "warn", "state": "firing", "step": 20,
        "role": "decoder_cross", "layer": 1, "heads": [2], "value": 3.0, "threshold": 2.0,
        "text": "the largest logit has grown", "try": "lower the learning rate", "pictures": [],
    }  # fmt: skip
    over = {**alert, "id": "a-2", "state": "resolved", "text": "it is over"}
    (run / "alerts.jsonl").write_text(f"{json.dumps(alert)}\n{json.dumps(over)}\n")
    with served(tmp_path, "--port", 0) as server:
        page = look(at=server)
        page.open()
        page.shown(60)
        assert "the largest logit has grown (step 20) lower" in page.text("attn-alerts")
        assert "it is over" not in page.text("attn-alerts")
        page.until("document.querySelectorAll('.curves .alert').length === 2")
        page.page.click("attn-alerts >> text=show")
        page.query("step=20", f"layer={CROSS}", "head=2")
        page.page.click("attn-alerts >> text=mute")
        page.until("document.querySelector('attn-alerts li') === null")
        page.press("ArrowLeft")
        page.shown(0)
        page.expected = ("404", "422")
        shutil.rmtree(run / "step_40")
        page.press("End", "ArrowLeft")
        page.until("document.querySelector('attn-steps').textContent.includes('2 of 3')")
        page.shown(20)
        assert page.text("attn-status .facts").startswith("closed"), "no trouble is told"
        shutil.rmtree(run)
        page.page.wait_for_selector("attn-status >> text=not there any more")
        page.end()


def cross_of(step: int) -> np.ndarray[Any, Any]:
    weights: np.ndarray[Any, Any] = random_weights(3, 12, 9, step)
    return weights


PAYLOADS = (
    "<img src=x onerror=alert(1)>",
    "<script>window.hacked = 1</script>",
    "'\"><svg/onload=alert(2)>",
    "javascript:alert(3)",
    "{{7*7}}${7*7}",
    "</title></style></textarea><b>",
    "\u202ereversed\u0000",
)


def test_hostile_texts_are_text(look: MakeLook, tmp_path: Path) -> None:
    title = "<img src=x onerror=alert(5)>"
    layers = {"decoder_layer0_self_attn": random_weights(2, 7, 7)}
    run = write_run(
        tmp_path / title, {0: layers, 1: layers}, tokens={"decoder": PAYLOADS},
        settings={payload: payload for payload in PAYLOADS},
    )  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    errors = [{"step": 0, "error": payload} for payload in PAYLOADS]
    (run / "summary.json").write_text(json.dumps({**summary, "errors": errors, "state": title}))
    described = json.loads((run / "run.json").read_text())
    for row in described["layers"]:
        row.update(module=PAYLOADS[0], note=PAYLOADS[1])
    described.update(host=PAYLOADS[2], command=list(PAYLOADS), config={PAYLOADS[0]: PAYLOADS[1]})
    (run / "run.json").write_text(json.dumps(described))
    with served(tmp_path, "--port", 0) as server:
        page = look(at=server)
        page.open(
            f"head={quote(PAYLOADS[0])}&layer={quote(PAYLOADS[2])}&scale={quote(PAYLOADS[1])}"
        )
        page.shown(1)
        page.point(0, 1)
        assert PAYLOADS[0].replace(" ", "␣") in page.text("attn-facts")
        for screen in ("run", "runs", "compare"):
            page.open(f"screen={screen}")
            page.page.wait_for_selector(f"attn-{screen} *")
        page.open("screen=run")
        page.page.wait_for_selector("attn-run dd")
        assert PAYLOADS[1] in page.text("attn-run")
        assert page.page.evaluate("window.hacked") is None
        assert page.page.query_selector("main img, main script[src='x'], svg[onload]") is None
        page.end()


def test_a_run_without_maps_shows_pictures_and_curves(look: MakeLook, tmp_path: Path) -> None:
    layers = {"decoder_layer0_self_attn": random_weights(2, 4, 4)}
    run = write_run(tmp_path / "runs" / "pictures", {0: layers, 1: layers})
    for step in (0, 1):
        (run / f"step_{step}" / "maps.safetensors").unlink()
    from PIL import Image

    Image.new("RGB", (30, 20), "red").save(run / "step_1" / "decoder_layer0_self_attn.png")
    with served(run.parent, "--port", 0) as server:
        page = look(at=server)
        page.open()
        page.until("document.querySelector('attn-pictures img')?.naturalWidth === 30")
        assert "No maps were kept" in page.text("attn-pictures")
        page.until("document.querySelectorAll('.curve').length >= 2")
        assert not page.page.is_visible("attn-heads"), "there is nothing in it"
        page.press("ArrowLeft")
        page.page.wait_for_selector("text=statistics alone")
        page.expected = ("404", "416", "422")
        shutil.rmtree(run)
        write_run(run, {7: layers})
        page.page.wait_for_selector("attn-steps >> text=1 of 1")
        page.shown(7)
        longer = dict.fromkeys((8, 9, 10), layers)
        another = write_run(tmp_path / "another", longer, start={"id": "another"})
        run.rename(tmp_path / "aside")
        another.rename(run)
        page.page.wait_for_selector("attn-steps >> text=1 of 3")
        page.shown(8)
        page.open("run=absent")
        page.page.wait_for_selector("attn-status .trouble")
        assert page.text("attn-steps .step") == "", "it is not known that there is no capture"
        page.end()


def test_no_other_origin_gets_anything(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}")
    page.shown()
    routes = ["", f"api/v1/runs/{ids['first']}", "app/x/start.js", "api/v1/events"]
    base = f"http://{page.server.address.netloc}/"
    tried = page.page.context.new_page()
    for origin in ("http://127.0.0.1:9999/", "http://localhost:9999/", "http://evil.test/"):
        tried.route(f"{origin}*", lambda route: route.fulfill(body="<p>", content_type="text/html"))
        tried.goto(origin)
        for route in routes:
            assert tried.evaluate(_TRY_ALL, base + route) == [], (origin, route)


_TRY_ALL = """async (address) => {
  const element = (name, properties) => new Promise((resolve) => {
    const made = Object.assign(document.createElement(name), properties);
    made.onload = () => resolve(name);
    made.onerror = () => resolve(null);
    document.body.append(made);
    setTimeout(() => resolve(null), 500);
  });
  const stream = new Promise((resolve) => {
    const events = new EventSource(address, { withCredentials: true });
    events.onopen = () => resolve("events");
    events.onerror = () => (events.close(), resolve(null));
  });
  const fetched = (mode) => fetch(address, { mode, credentials: "include" })
    .then((answer) => (answer.type === "opaque" ? null : `fetch ${mode}`), () => null);
  const frame = element("iframe", { src: address }).then(() => {
    const inner = document.querySelector("iframe:last-of-type");
    try {
      return inner.contentDocument?.querySelector("attn-status") ? "iframe" : null;
    } catch {
      return null;
    }
  });
  const loaded = ["img", "script"].map((name) => element(name, { src: address }));
  const got = await Promise.all([...loaded, stream, fetched("cors"), fetched("no-cors"), frame]);
  return got.filter((each) => each !== null);
}"""


def test_compared_runs_are_shown(look: MakeLook, ids: Ids) -> None:
    page = look()
    page.open(f"run={ids['first']}&other={ids['second']}&view=both&layer={CROSS}&head=0&step=40")
    # Both maps stand on one scale as soon as both have come.
    page.page.wait_for_selector("attn-facts >> text=bits apart")
    for name, seed in (("A", 0), ("B", 100)):
        top = rounded_top(max(stored(cross(40, 0, each)).max() for each in (0, 100)))
        weights = stored(cross(40, 0, seed))
        expected = weight_scale(top).indices(weights, np.zeros_like(weights, bool))
        assert np.array_equal(page.cells(None, name), WEIGHT_PALETTE.colours[expected])
    page.press("2")
    page.page.wait_for_selector("attn-compare .verdict >> text=differs in these two runs")
    assert "learning_rate" in page.text("attn-compare")
    page.page.click("text=Each head")
    page.page.click("attn-compare button:text-is('matched') >> nth=0")
    page.query("partner=", "view=both", "step=")
    page.until("location.search.includes('screen=') === false")
