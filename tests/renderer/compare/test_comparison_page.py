"""The page of a comparison: one file that loads nothing, and shows what the maps hold."""

import base64
import hashlib
import json
import re
import zlib
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
from attnmon_renderer.compare.page import compared_maps
from attnmon_renderer.compare.page.comparison_page import comparison_page

HOSTILE = "</script><img src=x onerror=alert(1)>"


def told_by(page: str) -> Any:
    [text] = re.findall(r'<script type="application/json" id="answers">(.*?)</script>', page, re.S)
    return json.loads(text)


def comparison_in(page: str) -> Any:
    return json.loads(told_by(page)["answers"]["compare"])


def codes_in(page: str, layer: dict[str, Any]) -> np.ndarray[Any, Any]:
    codes = page.partition('id="codes">')[2].partition("</script>")[0]
    packed = base64.b64decode(codes[layer["at"] : layer["at"] + layer["length"]])
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, LENGTH, LENGTH)
    return np.cumsum(rows, axis=1, dtype=np.uint8)


class Attributes(HTMLParser):
    """The names of all attributes in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {name for name, _ in attrs}


def content(page: str, tag: str) -> str:
    """Returns what is in the element that begins with that tag."""
    return page.partition(f"<{tag}>")[2].partition(f"</{tag.split()[0]}>")[0]


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
    for kind, tag in (("style-src", "style"), ("script-src", 'script type="module"')):
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
    assert page.count("</script>") == 3
    assert "/&lt;b&gt;first | " in page
    assert told_by(page)["texts"][0]["decoder"][0] == HOSTILE


def test_it_holds_what_was_found_and_says_it_without_a_script_too(
    page: str, runs: tuple[Path, Path]
) -> None:
    assert comparison_in(page) == json.loads(json.dumps(compare_runs(*runs).to_json()))
    without = page.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "differs in these two runs" in without
    assert "config.lr" in without


def test_its_maps_are_those_of_the_files(page: str) -> None:
    told = told_by(page)
    for seed, run, order in ((1, "a", 1), (2, "b", -1)):
        [line] = json.loads(told["answers"][f"runs/{run}"])["captures"]
        capture = told["captures"][f"runs/{run}/captures/{line['c']}"]
        assert line["step"] == 1100
        assert {layer["stem"] for layer in capture["layers"]} == set(STEMS)
        for layer in capture["layers"]:
            weights = wandering(seed)[1100][layer["stem"]][::order]
            scale = np.array(layer["scale"])[:, None, None]
            decoded = scale * np.square(codes_in(page, layer) / 255.0)
            assert np.abs(decoded - weights).max() <= 0.004 * scale.max()
            assert layer["heads"] == list(range(HEADS))
            assert (layer["queries"], layer["keys"], layer["causal"]) == (LENGTH, LENGTH, True)
            assert told["masks"][layer["mask"]] == "", "no mask forbids more"
    assert "are left out" not in page.partition("<attn-compare>")[2].partition("<script")[0]


def test_where_there_is_no_room_the_heads_that_differ_most_are_shown(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared_maps, "MOST_BYTES", 4 * 3 * LENGTH**2)
    found = compare_runs(*runs)
    page = comparison_page(found)
    assert f"{HEADS * len(STEMS) - 4} more heads" in page
    assert found.matching is not None
    numbered = {layer.stem: layer.numbered for layer in found.matching.layers}
    every = sorted(np.concatenate(list(numbered.values())))
    first, second = (
        told_by(page)["captures"][f"runs/{run}/captures/{c}"] for c, run in enumerate("ab")
    )
    distances = [numbered[each["stem"]][head] for each in first["layers"] for head in each["heads"]]
    assert sorted(distances) == pytest.approx(every[-4:])
    for a, b in zip(first["layers"], second["layers"], strict=True):
        partners = {HEADS - 1 - head for head in a["heads"]}
        assert set(b["heads"]) == {*a["heads"], *partners}, "with the head that each is matched to"


def test_what_cannot_be_compared_and_groups_have_a_page_too(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    other = write_wandering(tmp_path / "other", 3, tokens={"decoder": ["word"] * LENGTH})
    page = comparison_page(compare_runs(runs[0], other))
    assert comparison_in(page)["verdict"] == "not comparable"
    assert "tokens are not the same" in page
    assert told_by(page)["captures"] == {}
    assert "<attn-looks" not in page
    empty = comparison_page(compare_runs(runs[0], write_run(tmp_path / "empty", {})))
    assert comparison_in(empty)["layers"] == []
    groups = comparison_page(compare_groups([runs[0]], [runs[1]]))
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
