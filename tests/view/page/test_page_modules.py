"""The page's modules, without a browser: colours, types, numbers, and what they may not do."""

import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from support.project import TESTS

from attnmon_renderer.drawing.spec.palettes import CHANGE_PALETTE, LEVELS, WEIGHT_PALETTE, Palette
from attnmon_renderer.html_parts import joined

PAGE = Path(str(resources.files("attnmon_renderer"))) / "view" / "page"
HERE = TESTS / "view" / "page"
TSC = HERE / "node_modules" / ".bin" / "tsc"
FORBIDDEN = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
    "import(", "setAttribute(\"style", "WebSocket", "sendBeacon",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "palette"), [("WEIGHTS", WEIGHT_PALETTE), ("CHANGES", CHANGE_PALETTE)]
)
def test_the_colours_are_the_renderers(name: str, palette: Palette) -> None:
    source = (PAGE / "pure" / "codes.js").read_text()
    found = re.search(rf"^const {name} =\n(.*?);$", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    written = "".join(re.findall(r'"([0-9a-f]+)"', found[1]))
    colours = np.frombuffer(bytes.fromhex(written), np.uint8).reshape(-1, 3)
    assert np.array_equal(colours, palette.colours[:LEVELS])


def test_no_module_makes_markup_or_leads_elsewhere() -> None:
    modules = sorted(PAGE.rglob("*.js"))
    assert len(modules) > 20
    for path in modules:
        source = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert [word for word in FORBIDDEN if word in source] == [], path
        addresses = re.findall(r"[a-z]+://[^\"'` ]+", source)
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, "a name, not an address"
        assert all(each.startswith(".") for each in re.findall(r"\bfrom \"([^\"]+)\"", source))


def test_what_is_pure_knows_no_page() -> None:
    for path in (PAGE / "pure").glob("*.js"):
        source = path.read_text()
        assert not re.search(r"\b(document|window|fetch|HTMLElement)\b[.(]", source), path.name
        assert "../panels" not in source, path.name


def test_the_numbers() -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    files = sorted(map(str, HERE.glob("*.test.js")))
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stdout
    assert re.search(r"(?:#|ℹ) pass [1-9]", done.stdout), done.stdout


def test_the_types() -> None:
    if not TSC.exists():
        pytest.skip("TypeScript is not installed: `make test-browser` installs it where npm is")
    done = subprocess.run([str(TSC), "--project", "tsconfig.json"], capture_output=True,
                          text=True, cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_modules_are_joined_into_one() -> None:
    modules = {
        "start.js": 'import "./side.js";\nimport { add as plus } from "./a/sums.js";\n'
        'import * as sums from "./a/sums.js";\nconst own = 1;\nconsole.log(plus(own, sums.two));\n',
        "side.js": 'import { two } from "./a/sums.js";\nconst own = two;\nconsole.log(own);\n',
        "a/sums.js": "export const two = 2;\nexport function add(a, b) {\n  return a + b;\n}\n"
        'console.log("once");\n',
        "unused.js": "nonsense",
    }
    one = joined(modules, "start.js")
    if shutil.which("node") is not None:
        said = subprocess.run(["node", "-e", one], capture_output=True, text=True)
        assert said.stdout.split() == ["once", "2", "3"], said.stderr
    modules["a/sums.js"] = 'import "../side.js";\n'
    with pytest.raises(ValueError, match=r"start\.js → side\.js → a/sums\.js → side\.js"):
        joined(modules, "start.js")
