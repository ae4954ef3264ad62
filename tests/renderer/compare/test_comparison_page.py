"""The page of a comparison: one file that loads nothing, and shows what the maps hold."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.compared_runs import HEADS, LENGTH, STEMS, wandering, write_wandering
from support.maps import write_run

from attnmon_renderer.commands import main
from attnmon_renderer.compare.comparison import compare_runs
from attnmon_renderer.compare.group_comparison import compare_groups
from attnmon_renderer.compare.page import map_data
from attnmon_renderer.compare.page.comparison_page import comparison_page

HOSTILE = "</script><img src=x onerror=alert(1)>"


def data_of(page: str) -> Any:
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


class Attributes(HTMLParser):
    """The names of all attributes in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


def content(page: str, tag: str) -> str:
    """Returns what is in the last element of that tag, which has no attributes."""
    return page.rpartition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs with hostile names; of the second, the heads of each layer are turned around."""
    folder = tmp_path_factory.mktemp("runs")
    tokens = {"decoder": [HOSTILE, *map(str, range(LENGTH - 1))]}
    turned = {
        step: {stem: each[::-1] for stem, each in layers.items()}
        for step, layers in wandering(2).items()
    }
    first = write_wandering(folder / "<b>first", 1, tokens=tokens, config={"lr": 1, "x": HOSTILE})
    return first, write_run(folder / "second", turned, tokens=tokens, config={"lr": 2})


@pytest.fixture(scope="module")
def page(runs: tuple[Path, Path]) -> str:
    return comparison_page(compare_runs(*runs))


def test_it_loads_nothing_and_only_its_own_style_and_script_may_run(page: str) -> None:
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["trusted-types"] == ["'none'"]
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(content(page, tag).encode()).digest()
        assert rules[kind] == [f"'sha256-{base64.b64encode(digest).decode()}'"]
    assert re.findall(r"url\(|@import", content(page, "style")) == []
    attributes = Attributes(page).names
    assert "class" in attributes
    assert [
        name for name in attributes if name in ("src", "href", "style") or name[:2] == "on"
    ] == []


def test_what_a_run_says_is_data(page: str) -> None:
    assert "<img" not in page
    assert page.count("</script>") == 2
    assert "/&lt;b&gt;first | " in page
    assert data_of(page)["maps"]["layers"][0]["tokens"][0][0] == HOSTILE


def test_it_shows_the_verdict_the_settings_curves_and_numbers(page: str) -> None:
    assert "differs in these two runs" in page
    assert "<td>config.lr</td>" in page
    assert page.count("<svg") == 1 + len(STEMS)
    assert page.count("<tr>") > HEADS * len(STEMS)


def test_its_maps_are_those_of_the_files_and_each_head_has_its_partner(page: str) -> None:
    found = data_of(page)["maps"]
    assert found["left_out"] == 0
    assert [layer["name"] for layer in found["layers"]] == ["decoder self 0", "decoder self 1"]
    for layer, stem in zip(found["layers"], STEMS, strict=True):
        for head in layer["heads"]:
            assert head["b"] == HEADS - 1 - head["a"]
            assert head["matched"] < head["numbered"]
        weights = wandering(1)[1100][stem]
        for head, shown in layer["maps_a"].items():
            codes = np.frombuffer(base64.b64decode(shown["codes"]), np.uint8)
            decoded = shown["scale"] * (codes.reshape(LENGTH, LENGTH) / 255.0) ** 2
            assert decoded == pytest.approx(weights[int(head)], abs=0.004 * shown["scale"])
        assert (layer["queries"], layer["keys"], layer["causal"]) == (LENGTH, LENGTH, True)
        assert layer["allowed"] == "", "no mask forbids more"


def test_where_there_is_no_room_the_heads_that_differ_most_are_shown(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_data, "MOST_BYTES", 4 * 3 * LENGTH**2)
    found = compare_runs(*runs)
    shown = data_of(comparison_page(found))["maps"]
    assert shown["left_out"] == HEADS * len(STEMS) - 4
    assert found.matching is not None
    every = sorted(np.concatenate([layer.numbered for layer in found.matching.layers]))
    distances = [head["numbered"] for layer in shown["layers"] for head in layer["heads"]]
    assert sorted(distances) == pytest.approx(every[-4:])


def test_what_cannot_be_compared_and_groups_have_a_page_too(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = write_wandering(tmp_path / "other", 3, tokens={"decoder": ["word"] * LENGTH})
    page = comparison_page(compare_runs(runs[0], other))
    assert "not comparable" in page
    assert "tokens are not the same" in page
    assert data_of(page)["maps"] is None
    empty = comparison_page(compare_runs(runs[0], write_run(tmp_path / "empty", {})))
    assert "There are no numbers that both have." in empty
    groups = comparison_page(compare_groups([runs[0]], [runs[1]]))
    assert "in spreads within a group" in groups
    assert "too few" in groups


def test_the_command_writes_it_and_says_where(
    runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    assert main(["compare", *map(str, runs), "-o", str(out)]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert f"written to {out}" in capsys.readouterr().err
    assert main(["compare", *map(str, runs), "-o", str(tmp_path / "no" / "page.html")]) == 0
    assert main(["compare", *map(str, runs), "-o", str(tmp_path)]) == 2
    assert "attnmon compare: " in capsys.readouterr().err
