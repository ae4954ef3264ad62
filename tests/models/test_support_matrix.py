"""docs/models.md and the tests it stands on: the same rows, and no test named that is not there."""

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest
from support.project import PROJECT
from support.support_matrix import ROWS

DOCUMENT = (PROJECT / "docs" / "models.md").read_text()
PINNED = (PROJECT / "constraints.txt").read_text().splitlines()
TABLE = DOCUMENT.partition("## The support matrix")[2].partition("\n### ")[0]


def installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


the_release_it_was_written_for = pytest.mark.skipif(
    f"transformers=={installed('transformers')}" not in PINNED,
    reason="another transformers may offer sdpa for other models",
)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def matrix() -> dict[str, list[str]]:
    lines = [line for line in TABLE.splitlines() if line.startswith("|")][2:]
    return {name: rest for name, *rest in map(cells, lines)}


@the_release_it_was_written_for
def test_every_model_that_is_tested_has_its_row_and_no_other() -> None:
    assert list(matrix()) == list(ROWS)


@the_release_it_was_written_for
@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_what_is_tested(name: str) -> None:
    seen_in, extra, own, remark = matrix()[name]
    row = ROWS[name]
    assert seen_in == f"`{row.source}`"
    assert extra == "1e-6"
    assert own == ("no: it compiles itself" if row.probe_only else "1e-6")
    assert remark == ("the first window" if row.note else "")


def test_the_tests_that_are_named_are_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)
    assert len(named) > 20
    missing = [(file, test) for file, test in named if test not in functions_in(PROJECT / file)]
    assert missing == []
    about_all = re.findall(r"`(test_\w+)`", TABLE)
    assert set(about_all) <= functions_in(PROJECT / "tests" / "models" / "test_models.py")
    assert len(about_all) == 3


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
