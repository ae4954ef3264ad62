"""The documents are true: links lead somewhere, settings and code are real."""

import ast
import inspect
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import VOCABULARY, Translator
from support.project import PROJECT

from attnmon import LightweightAttentionMonitor
from attnmon.config.option_table import OPTIONS
from attnmon_renderer import commands
from attnmon_renderer.commands import SUBCOMMANDS, renderer

ON_TOP = [PROJECT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")]
DOCUMENTS = [*ON_TOP, *(PROJECT / "docs").rglob("*.md")]
COMMAND = re.compile(r"^(?:ATTNMON_\w+=\S+ )?(attnmon(?:-renderer)?(?: .*?)?)(?:  +#.*)?$", re.M)


def parameters(monitor: type[Any]) -> dict[str, Any]:
    """Returns the names and defaults of the settings that a monitor takes by position."""
    signature = inspect.signature(monitor)
    return {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }


GUIDES = {"guide.md": "## Settings", "zh/guide.md": "## 全部设置"}
GUIDE = pytest.mark.parametrize("guide", GUIDES)


def documented(guide: str) -> dict[str, str]:
    """Returns the default of each setting as a guide's tables have it."""
    text = (PROJECT / "docs" / guide).read_text()
    section = text.partition(GUIDES[guide])[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([a-z]\w*)` \| ([^|]+) \|", section, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    missing = [
        target
        for target in targets
        if not target.startswith("http") and not (document.parent / target).exists()
    ]
    assert missing == []


def shell_lines(document: Path) -> list[str]:
    """Returns the lines of a document's shell blocks that call our commands."""
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.M | re.S)
    return [line for block in blocks for line in COMMAND.findall(block)]


def test_every_command_in_a_shell_block_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line for document in DOCUMENTS for line in shell_lines(document)]
    assert lines
    for module in map(import_module, (f"{commands.__name__}.{name}" for name in SUBCOMMANDS)):
        monkeypatch.setattr(module, "run", lambda arguments: 0)
    for line in lines:
        command, *arguments = shlex.split(line)
        if command == "attnmon":
            assert commands.main(arguments) == 0, line
        else:
            renderer.parsed(arguments)


@pytest.mark.parametrize("page", ["quick-reference.md", "zh/quick-reference.md"])
def test_the_line_for_completion_knows_every_command(page: str) -> None:
    text = (PROJECT / "docs" / page).read_text()
    [words] = re.findall(r'^complete -o default -W "([\w ]+)" attnmon$', text, re.MULTILINE)
    assert tuple(words.split()) == SUBCOMMANDS


def test_every_extra_that_a_document_names_can_be_installed() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = {
        name.strip()
        for path in (*DOCUMENTS, *(PROJECT / "attnmon").rglob("*.py"))
        for names in re.findall(r"attnmon\[([\w, -]+)\]", path.read_text())
        for name in names.split(",")
    }
    assert named == project["optional-dependencies"].keys()


@pytest.mark.parametrize("page", ["how-it-works.md", "contributing.md"])
def test_every_file_that_a_page_on_the_code_names_is_there(page: str) -> None:
    named = set(re.findall(r"`([\w/.]+(?:\.py|/))`", (PROJECT / "docs" / page).read_text()))
    there = {path.relative_to(PROJECT).as_posix() for path in tracked_files()}
    folders = {f"{parent}/" for path in there for parent in Path(path).parents}
    missing = [
        name for name in named
        if not any(path == name or path.endswith(f"/{name}") for path in there | folders)
    ]  # fmt: skip
    assert len(named) > 15
    assert set(missing) <= {"failed/", "build/"}, "made by a run, and by make"


def tracked_files() -> Iterator[Path]:
    for folder in ("attnmon", "renderer", "scripts", "tests"):
        yield from (PROJECT / folder).rglob("*.py")
    yield from (PROJECT / "renderer").rglob("*.js")


def test_every_test_that_the_page_on_reliability_names_is_there() -> None:
    text = (PROJECT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`(\w[\w/]*/test_\w+\.py)::(\w+)`", text)
    assert len(named) > 60
    for file, name in named:
        source = (PROJECT / "tests" / file).read_text()
        assert re.search(rf"^(def {name}\(|{name} = )", source, re.MULTILINE), f"{file}::{name}"


def test_the_guide_begins_with_a_link_to_each_chapter() -> None:
    text = (PROJECT / "docs" / "guide.md").read_text()
    links = re.findall(r"\[([^]]+)\]\(#", text.partition("\n## ")[0])
    assert links == re.findall(r"^## (.+)$", text, re.MULTILINE)


@GUIDE
def test_the_guide_lists_every_setting(guide: str) -> None:
    assert list(documented(guide)) == list(OPTIONS)
    assert set(parameters(LightweightAttentionMonitor)) < OPTIONS.keys()


@GUIDE
def test_the_guide_lists_every_variable_of_the_environment(guide: str) -> None:
    text = (PROJECT / "docs" / guide).read_text()
    folders = (PROJECT / "attnmon", PROJECT / "renderer")
    sources = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    used = {name for text in sources for name in re.findall(r'"(ATTNMON_[A-Z]+)"', text)}
    assert used == set(re.findall(r"^\| `(ATTNMON_[A-Z]+)` \|", text, re.MULTILINE))


@GUIDE
@pytest.mark.parametrize("name", OPTIONS)
def test_the_guide_gives_the_true_default(name: str, guide: str) -> None:
    lighter = r"(?: \(lightweight: `([^`]+)`\)|（轻量版 `([^`]+)`）)?"
    stated = re.fullmatch(rf"`([^`]+)`{lighter}", documented(guide)[name])
    assert stated is not None
    assert ast.literal_eval(stated[1]) == OPTIONS[name].default
    lightweight = parameters(LightweightAttentionMonitor).get(name, OPTIONS[name].default)
    assert ast.literal_eval(stated[2] or stated[3] or stated[1]) == lightweight


def test_the_chinese_guide_has_every_kind_of_picture_and_every_number_of_a_head() -> None:
    pages = [(PROJECT / "docs" / guide).read_text() for guide in GUIDES]
    tables = r'^\| `("?[a-z_0-9]+"?)` \|'
    english, chinese = (set(re.findall(tables, page, re.MULTILINE)) for page in pages)
    assert {'"heatmap"', '"rollout"', "entropy", "max_logit"} <= english
    assert english - chinese == set()


def test_the_readme_s_integration_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", (PROJECT / "README.md").read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    model = Translator()
    enc, dec, target = (torch.randint(VOCABULARY, (3, 6)) for _ in range(3))
    given = {
        "model": model,
        "batches": 3 * [(enc, dec, target)],
        "criterion": lambda logits, wanted: torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten()
        ),
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    exec(code, given)
    accounts = json.loads((tmp_path / "attention_logs" / "summary.json").read_text())
    assert accounts["steps"] == 3
    assert accounts["rendered"] == 1
    assert (tmp_path / "attention_logs" / "step_0" / "decoder_layer0_cross_attn.png").is_file()
