"""The font of each character, also from a font that was installed a moment ago."""

from pathlib import Path

import pytest
from support.tiny_font import write_font

from attnmon_renderer.drawing.spec.page import Font
from attnmon_renderer.drawing.text import font_choice, font_files
from attnmon_renderer.drawing.text.font_choice import Choice, choose
from attnmon_renderer.drawing.text.fonts import BOX, missing_characters, runs
from attnmon_renderer.drawing.text.glyphs import text_width

FONT = Font(20)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose only fonts are in one folder, which is looked at each time."""
    monkeypatch.setattr(font_files, "font_folders", lambda: iter([str(tmp_path)]))
    monkeypatch.setattr(font_choice, "_installed", font_choice._Installed())
    monkeypatch.setattr(font_choice, "LOOK_AGAIN_SECONDS", 0.0)
    return tmp_path


def family(character: str, font: Font = FONT) -> str:
    choice = choose(character, font)
    assert choice is not None
    return choice.family


def test_a_font_installed_a_moment_ago_is_used(folder: Path) -> None:
    assert missing_characters(["a中"], FONT) == ["中"]
    assert [run.string for run in runs("a中", FONT)] == [f"a{BOX}"]
    width = text_width("中", FONT)
    (folder / "below").mkdir()
    write_font(folder / "below" / "new.ttf", "Tiny Sans", "中")
    assert missing_characters(["a中"], FONT) == []
    assert [run.string for run in runs("a中", FONT)] == ["a中"]
    assert text_width("中", FONT) != width


def test_dejavu_draws_what_it_can(folder: Path) -> None:
    write_font(folder / "all.ttf", "Tiny Sans", "aé中")
    assert family("é") == "DejaVu Sans"


def test_a_plain_face_is_preferred(folder: Path) -> None:
    write_font(folder / "1.ttf", "Tiny Serif", "中")
    write_font(folder / "2.ttf", "Tiny Sans", "中", "Italic")
    write_font(folder / "3.ttf", "Tiny Sans Mono", "中")
    write_font(folder / "4.ttf", "Tiny Sans", "中")
    write_font(folder / "5.ttf", "Tiny Sans", "中", "Bold")
    assert "4.ttf" in family("中")
    assert "5.ttf" in family("中", Font(20, bold=True))


def test_the_form_of_chinese_characters_follows_the_language(folder: Path) -> None:
    write_font(folder / "1.ttf", "Tiny Sans JP", "骨")
    write_font(folder / "2.ttf", "Tiny Sans TC", "骨")
    write_font(folder / "3.ttf", "Tiny Sans SC", "骨")
    fonts = [family("骨", Font(20, language=language)) for language in ("JP", "TC", "SC", "")]
    assert [name.split("/")[-1] for name in fonts] == ["1.ttf#0", "2.ttf#0", "3.ttf#0", "3.ttf#0"]


def test_a_font_must_have_the_whole_cluster(folder: Path) -> None:
    write_font(folder / "1.ttf", "Tiny Sans", "中")
    write_font(folder / "2.ttf", "Tiny Sans Two", "中\u20dd")
    assert "2.ttf" in family("中\u20dd")


def test_files_that_are_no_fonts_are_passed_over(folder: Path) -> None:
    (folder / "broken.ttf").write_bytes(b"\0\1\0\0" + b"x" * 99)
    (folder / "loop").symlink_to(folder)
    write_font(folder / "good.ttf", "Tiny Sans", "中")
    assert choose("中", FONT) == Choice(f"attnmon {folder / 'good.ttf'}#0")
