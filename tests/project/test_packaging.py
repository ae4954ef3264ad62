"""What an installation holds, and which installation these tests run against."""

import os
import re
from importlib import import_module, metadata, resources
from pathlib import Path

import pytest
from support.project import PROJECT

import attnmon

INSTALLED_BELOW = Path(os.environ.get("ATTNMON_INSTALLED_BELOW", PROJECT))
"""The folder of the packages under test: the source, or a built wheel in `make test-wheel`."""
PACKAGES = ("attnmon", "attnmon_renderer")

wheel_only = pytest.mark.skipif(INSTALLED_BELOW == PROJECT, reason="about the files of a wheel")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_under_test_are_those_meant(package: str) -> None:
    found = import_module(package).__file__
    assert found is not None
    assert Path(found).is_relative_to(INSTALLED_BELOW)


def test_what_attnmon_offers() -> None:
    monitors = {"LightweightAttentionMonitor", "TrainingAttentionMonitor"}
    offered = {*monitors, "Alert", "ShownRun", "__version__"}
    assert set(attnmon.__all__) == offered
    assert all(hasattr(attnmon, name) for name in offered)


def test_an_unknown_name_is_an_attribute_error_that_names_those_there_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Monitor'.*TrainingAttentionMonitor"):
        attnmon.Monitor  # noqa: B018


def test_one_version_everywhere() -> None:
    assert metadata.version("attnmon") == attnmon.__version__
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert releases[0] == attnmon.__version__


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_typed(package: str) -> None:
    assert resources.files(package).joinpath("py.typed").is_file()


@pytest.mark.parametrize("command", ["attnmon", "attnmon-renderer"])
def test_the_commands_lead_somewhere(command: str) -> None:
    [entry] = metadata.entry_points(group="console_scripts", name=command)
    assert callable(entry.load())


@wheel_only
def test_the_wheel_holds_the_two_packages_and_nothing_else() -> None:
    files = metadata.files("attnmon") or []
    tops = {file.parts[0] for file in files if ".." not in file.parts}
    assert tops == {*PACKAGES, f"attnmon-{attnmon.__version__}.dist-info"}


@wheel_only
def test_the_wheel_holds_the_source_byte_for_byte() -> None:
    """So the tests that passed on the source need not run on the wheel again."""
    source = Path(os.environ["ATTNMON_SOURCE"])
    for package, folder in zip(PACKAGES, (source, source / "renderer"), strict=True):
        installed = Path(str(resources.files(package)))
        assert contents(installed) == contents(folder / package)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns each file below by its relative path; but what Python has compiled, and types."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if "__pycache__" not in path.parts and not path.match("view/page/types.d.ts")
    }


@wheel_only
def test_what_the_package_index_shows_leads_to_the_repository() -> None:
    """The index has neither our pictures nor our pages, so each link must be a whole address."""
    about = metadata.metadata("attnmon")
    [home] = [url.split(", ")[1] for url in about.get_all("Project-URL") if "Homepage" in url]
    raw = home.replace("github.com", "raw.githubusercontent.com")
    text = str(about.get_payload())
    assert text.startswith((PROJECT / "README.md").read_text()[:200])
    links = re.findall(r"(!?)\[[^]]*\]\(([^)\s]+)", text)
    assert len(links) > 5
    for is_picture, target in links:
        assert target.startswith(("https:", "#"))
        below = raw if is_picture else home
        if path := re.fullmatch(rf"{below}/(?:blob/)?main/([^#]*)(?:#.*)?", target):
            assert (PROJECT / path[1]).exists(), target


@wheel_only
def test_the_wheel_brings_its_licence() -> None:
    names = {file.name for file in metadata.files("attnmon") or []}
    assert "LICENSE" in names
