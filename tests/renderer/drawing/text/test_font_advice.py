"""What to install for characters that no font has, on several systems."""

import pytest
from support.no_fonts import only

from attnmon_renderer.drawing.text.font_advice import advise, describe_missing, font_packages

MISSING = ("中", "あ", "🤖", "ह")


@pytest.mark.parametrize(
    ("command", "start"),
    [
        ("apt-get", "apt-get install fonts-noto-cjk fonts-noto-color-emoji fonts-noto-core, "),
        ("pacman", "pacman -S noto-fonts-cjk noto-fonts-emoji noto-fonts, "),
        ("apk", "apk add font-noto-cjk font-noto-emoji font-noto-all, "),
    ],
)
def test_the_packages_have_the_names_of_the_system(
    command: str, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, command)
    assert advise(MISSING).startswith(start)
    assert font_packages(["あ"]) == (start.split()[2],)


def test_elsewhere_a_file_in_a_folder_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch)
    assert font_packages(MISSING) == ()
    assert "~/.local/share/fonts" in advise(MISSING)


def test_some_of_the_characters_are_named() -> None:
    text = describe_missing([chr(0x4E00 + number) for number in range(9)])
    assert text.startswith("no font on this machine has 一 丁 丂 七 丄 丅 and 3 more; ")
    assert "boxes" in text
