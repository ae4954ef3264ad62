"""`attnmon report`: one file, complete, that loads nothing and runs nothing of the run's."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.outputs import history
from support.stored_run import HOSTILE, STEPS, train_with_raw_weights

from attnmon.link.records.alert import Alert
from attnmon_renderer.commands import main
from attnmon_renderer.html_parts import inert_json
from attnmon_renderer.insight.alert_log import append_alerts
from attnmon_renderer.report import svg_chart as charts
from attnmon_renderer.report.gather import (
    MOST_POINTS,
    ReportStep,
    evenly_spaced,
    gather_report_data,
    load_steps,
)
from attnmon_renderer.report.stored_pictures import StoredPicture

Output = pytest.CaptureFixture[str]
VOID = {"meta", "img", "input", "br", "link"}


class Document(HTMLParser):
    """A document as a browser reads it: its elements, the text in each, and that all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(dict(attributes).get("id") or tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() is not None

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    @property
    def text(self) -> str:
        return " ".join(text for place, text in self.texts.items() if place != "steps")

    def steps(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.texts["steps"])
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three captures; to be read only."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_with_raw_weights(folder)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "run")


def report(run: Path, *arguments: str) -> Document:
    target = run.parent / "to_send" / "report.html"
    assert main(["report", str(run), "-o", str(target), *arguments]) == 0
    return Document(target.read_text(encoding="utf-8"))


def changed(run: Path, **figures: Any) -> None:
    path = run / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | figures))


def rewritten(run: Path, change: Callable[[list[Any]], None]) -> None:
    lines = history(run)
    change(lines)
    (run / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_the_slider_has_every_step_with_every_picture_as_it_is_on_disk(run: Path) -> None:
    steps = report(run).steps()
    folders = ["step_0", "step_2", "epoch_7_step_4"]
    losses = [line["metadata"]["loss"] for line in history(run)]
    assert [step["label"] for step in steps] == [
        f"step {number} · epoch {epoch} · loss {loss:.4g}"
        for number, epoch, loss in zip(STEPS, (1, 1, 7), losses, strict=True)
    ]
    for step, folder in zip(steps, folders, strict=True):
        on_disk = {path.stem: path.read_bytes() for path in (run / folder).glob("*.png")}
        shown = {name: png_in(uri) for name, uri in step["pictures"].items()}
        assert len(shown) == 28
        assert {name: pixels(png) for name, png in shown.items()} == {
            name: pixels(png) for name, png in on_disk.items()
        }
        assert sum(map(len, shown.values())) < 0.9 * sum(map(len, on_disk.values()))


def png_in(uri: str) -> bytes:
    kind, _, content = uri.partition(";base64,")
    assert kind == "data:image/png"
    return base64.b64decode(content, validate=True)


def pixels(png: bytes) -> tuple[tuple[int, int], bytes]:
    with Image.open(io.BytesIO(png)) as image:
        return image.size, image.convert("RGB").tobytes()


def test_a_picture_that_is_damaged_is_left_out(run: Path) -> None:
    broken = run / "step_2" / "decoder_layer0_cross_attn.png"
    broken.write_bytes(broken.read_bytes()[:500])
    first, second, _ = report(run).steps()
    assert set(first["pictures"]) - set(second["pictures"]) == {broken.stem}


def test_it_is_whole_and_loads_nothing(run: Path) -> None:
    """No element names a place to load from, no style either, and the policy forbids all."""
    document = report(run)
    assert document.open == []
    policies = [
        attributes["content"]
        for _, attributes in document.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0] is not None
    assert policies[0].startswith("default-src 'none'; img-src data:;")
    for tag, attributes in document.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not {"src", "href", "action", "srcset", "data"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    without_pictures = re.sub(r"data:image/png;base64,[\w+/=]+", "", document.source)
    assert 10_000 < len(without_pictures) < len(document.source) / 2
    for loading in ("http:", "https:", "url(", "@import", "fetch(", "import("):
        assert loading not in without_pictures


def test_markup_in_whatever_comes_from_the_run_is_text(run: Path) -> None:
    def poison(lines: list[Any]) -> None:
        lines[-1]["encoder"][0] |= {"name": HOSTILE, "note": HOSTILE}
        lines[0]["error"] = HOSTILE + "</li></ul>"

    honest = [tag for tag, _ in report(run).elements]
    rewritten(run, poison)
    changed(run, state="closed", errors=[HOSTILE], versions={HOSTILE: HOSTILE}, settings=HOSTILE)
    document = report(run, "--title", HOSTILE)
    assert document.texts["h1"] == HOSTILE
    assert document.texts["title"].startswith(HOSTILE)
    assert document.text.count(HOSTILE) >= 7
    tags = [tag for tag, _ in document.elements]
    assert tags.count("script") == honest.count("script") == 2
    assert document.open == []


@pytest.mark.parametrize("text", [HOSTILE, "<!--<script>", "]]>&amp;\u2028", "emoji 🙂"])
def test_json_in_a_script_element_is_what_it_was_and_ends_nothing(text: str) -> None:
    written = inert_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not set("<>&") & set(written)


def test_a_run_without_trouble_says_so_and_one_with_it_says_what(run: Path) -> None:
    assert "Every capture was drawn, and nothing was lost." in report(run).text

    def diverge(lines: list[Any]) -> None:
        for line in lines[-2:]:
            line["metadata"]["loss"] = None

    rewritten(run, diverge)
    grown = Alert("a", "logit_growth", "warn", "firing", 4, text="They grew.", advice="Stop.")
    append_alerts(run, [grown])
    changed(run, state="trainer lost", captured=9, failed=2, dropped=4, errors=["disk full"])
    said = report(run).text
    for words in (
        "training process ended without closing",
        "2 of 9 captures failed",
        "4 captures were dropped",
        "Step 4, warn: They grew. Stop.",
        f"From step {history(run)[-2]['metadata']['step']} on there is no loss",
        ", then none",
        "disk full",
    ):
        assert words in said
    assert "nothing was lost" not in said


def test_the_table_has_the_last_numbers_of_every_layer(run: Path) -> None:
    document = report(run)
    last = history(run)[-1]
    _, *found = re.findall(r"<tr>(.*?)</tr>", document.source)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in found]
    layers = [*last["encoder"], *last["decoder"]]
    assert len(rows) == len(layers) == 6
    for row, layer in zip(rows, layers, strict=True):
        assert row[1] == layer["name"]
        assert row[3] == f"{layer['mean']:.3g}"
        entropies = layer["heads"]["entropy"]
        assert row[7] == f"{sum(entropies) / len(entropies):.3g}"


def test_the_run_s_settings_and_accounts_are_there(run: Path) -> None:
    said = report(run).text
    assert "3 captured, 3 rendered, 0 dropped, 0 failed" in said
    assert "torch 2." in said
    assert "save_raw_weights" in said
    assert "5 steps" in said


def test_pictures_can_come_from_another_place_and_in_another_format(run: Path) -> None:
    drawn = ["--out", str(run / "rendered"), "--jobs", "1", "--format", "svg", "--layers", "0"]
    assert main(["render", str(run), *drawn]) == 0
    [first, *_] = report(run, "--pictures", str(run / "rendered")).steps()
    assert len(first["pictures"]) == 3
    uri = first["pictures"]["decoder_layer0_cross_attn"]
    assert uri.startswith("data:image/svg+xml;base64,")
    assert b"<svg" in base64.b64decode(uri.partition(",")[2])


def test_fewer_steps_are_shown_where_there_are_too_many_and_it_is_said(run: Path) -> None:
    document = report(run, "--max-steps", "2")
    assert [step["label"].split()[1] for step in document.steps()] == ["0", "4"]
    assert "2 of the 3 steps that have pictures" in document.text
    assert "All 3 steps" in report(run).text


def test_a_lightweight_run_has_a_report_without_pictures(run: Path) -> None:
    for folder in run.glob("*step_*"):
        shutil.rmtree(folder)
    document = report(run)
    assert "no pictures that a browser shows" in document.text
    assert [tag for tag, _ in document.elements].count("path") == 1 + 6


def test_a_run_that_has_not_captured_yet_has_one_too(run: Path) -> None:
    (run / "history.jsonl").unlink()
    shutil.rmtree(run / "step_2")
    changed(run, state="running", captured=0)
    said = report(run).text
    assert "No capture was recorded." in said
    assert "had not ended" in said


def test_a_directory_without_a_run_is_refused(tmp_path: Path, capsys: Output) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_beside_the_run_for_its_owner_only(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_mode & 0o777 == 0o600


def test_thinning_keeps_the_ends_and_even_distances() -> None:
    steps = list(range(101))
    assert evenly_spaced(steps, 5) == [0, 25, 50, 75, 100]
    assert evenly_spaced(steps, 1) == [100]
    assert evenly_spaced(steps, 101) == evenly_spaced(steps, 1000) == steps


def test_only_steps_that_may_be_shown_are_looked_at() -> None:
    looked_at = []

    def load(key: tuple[int, str]) -> ReportStep:
        looked_at.append(key[0])
        return ReportStep(*key, {"a": StoredPicture(Path("a.png"), ".png", 10)}, {})

    steps = [(number, "") for number in range(10_001)]
    few = load_steps(steps, load, 50, 200)
    assert len(few) <= 20
    assert (few[0].number, few[-1].number) == (0, 10_000)
    assert len(load_steps(steps, load, 50, 1)) == 1
    assert len(looked_at) < 500


def lines(losses: list[float | None], entropies: list[float | None]) -> list[dict[str, Any]]:
    """A history of one layer of one head."""
    return [
        {
            "metadata": {"step": 10 * number, "loss": loss},
            "encoder": [],
            "decoder": [{"layer": 0, "type": "self_attention", "heads": {"entropy": [entropy]}}],
        }
        for number, (loss, entropy) in enumerate(zip(losses, entropies, strict=True))
    ]


def test_curves_stand_where_their_numbers_say() -> None:
    drawn = charts.svg_chart(lines([2.0, 1.5, 1.0], [1.0, 0.5, 0.0]))
    paths = [points(path) for path in re.findall(r' d="([^"]*)"', drawn)]
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    tops = [charts.TOP + number * (charts.HEIGHT + charts.GAP) for number in (0, 1)]
    for path, top in zip(paths, tops, strict=True):
        assert path[0] == path[1] == (left, top)
        assert path[2] == ((left + right) / 2, top + charts.HEIGHT / 2)
        assert path[3] == (right, top + charts.HEIGHT)


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_the_mouse_reads_the_values_of_the_nearest_step() -> None:
    drawn = charts.svg_chart(lines([2.0, None, 1.0], [1.0, 0.5, 0.25]))
    columns = [
        (float(x), float(x) + float(width), title)
        for x, width, title in re.findall(
            r'class="column" x="([\d.]+)"[^>]* width="([\d.]+)"[^>]*><title>([^<]*)', drawn
        )
    ]
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    quarter = (right - left) / 4
    ends = [left, left + quarter, right - quarter, right]
    assert [(first, last) for first, last, _ in columns] == 2 * [*pairwise(ends)]
    assert [title for _, _, title in columns] == [
        "step 0\nloss · 2", "step 10", "step 20\nloss · 1",
        "step 0\nlayer 0 · 1", "step 10\nlayer 0 · 0.5", "step 20\nlayer 0 · 0.25",
    ]  # fmt: skip


def test_what_is_missing_leaves_a_gap_and_one_point_is_a_dot() -> None:
    drawn = charts.svg_chart(lines([2.0, None, 1.0, 1.5], [None, None, None, 0.5]))
    loss, entropy = re.findall(r' d="([^"]*)"', drawn)
    assert loss.count("M") == 2
    assert len(points(loss)) == 5
    assert entropy.count("M") == 1
    assert charts.svg_chart(lines([None], [None])).count("<path") == 1
    assert charts.svg_chart([]) == ""


def test_a_long_history_keeps_its_last_point_and_few_others(tmp_path: Path) -> None:
    count = 3007
    history = lines([float(n) for n in range(1, count + 1)], count * [0.5])
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    (tmp_path / "summary.json").write_text("{}")
    data = gather_report_data(tmp_path, tmp_path, 50, 1 << 20)
    assert len(data.facts) == count
    drawn = charts.svg_chart(data.history)
    assert f"step {10 * (count - 1):,}" in drawn
    assert "loss (log scale)" in drawn
    assert drawn.count("L") < 2 * (MOST_POINTS + 5)
