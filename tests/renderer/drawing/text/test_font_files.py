"""The folders and files of fonts on the machine."""

import os
from pathlib import Path

import pytest
from support.tiny_font import write_font

from attnmon_renderer.drawing.text.font_files import find_font_files, font_folders, read_faces


def test_fonts_are_looked_for_where_people_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "fonts.conf"
    config.write_text('<fontconfig><dir>/opt/fonts</dir><dir prefix="xdg">mine</dir></fontconfig>')
    monkeypatch.setenv("FONTCONFIG_FILE", str(config))
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me/data")
    monkeypatch.setenv("XDG_DATA_DIRS", "/one:/two")
    wanted = {"/home/me/data/fonts", "/one/fonts", "/two/fonts", "~/.fonts", "/usr/share/fonts"}
    assert wanted | {"/opt/fonts", "/home/me/data/mine"} <= set(font_folders())


def test_a_new_file_shows_in_the_time_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (tmp_path / "fonts" / "deep").mkdir(parents=True)
    os.utime(tmp_path / "fonts" / "deep", (1, 1))
    before, _ = find_font_files()
    file = tmp_path / "fonts" / "deep" / "Tiny.TTF"
    write_font(file, "Tiny Sans", "中")
    after, files = find_font_files()
    assert before != after
    assert str(file) in files
    (face,) = read_faces(str(file))
    assert (face.family, face.style, face.index, face.coloured) == (
        "Tiny Sans",
        "Regular",
        0,
        False,
    )
    assert face.covers("中")
    assert not face.covers("中文")


def test_a_pipe_that_looks_like_a_font_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ttf")
    assert list(read_faces(str(tmp_path / "pipe.ttf"))) == []
    assert list(read_faces(str(tmp_path / "gone.ttf"))) == []
